"""The canonical form of a dataset: tar shards for the engine, pages of rows with thumbnails for people."""

import hashlib
import io
import json
import tarfile
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from core.ingest.likeness import Fingerprint
from core.ingest.limits import Limits
from core.ingest.pictures import Picture
from core.ingest.rows import LOSER

MOST_SHARD_BYTES = 512 << 20
FINGERPRINTS = "fingerprints.bin"


@dataclass(frozen=True)
class Place:
    """Where a picture's file lies: so many bytes of a shard."""

    shard: int
    start: int
    length: int
    format: str


@dataclass(frozen=True)
class PageRow:
    """One row as people see it."""

    index: int
    file_name: str
    text: str
    width: int
    height: int
    thumbnail: str
    loser_thumbnail: str | None = None
    """Of the picture that lost against it, in pairs."""
    place: Place | None = None
    """None in datasets of before this was told."""
    loser_place: Place | None = None


class Shards:
    """Writes rows into ``shard-00000.tar``, ... and ``page-00000.json``, ...; the same rows, the same bytes.

    A shard holds KEY.png|jpg|webp, in pairs KEY.loser.png|jpg|webp, and KEY.txt, and nothing of the time or
    the host. The dataset's sha256 is over the sha256 of each picture and each caption: how the rows are
    divided into shards does not change it. ``fingerprints.bin`` has a record for each row
    (core.ingest.likeness).
    """

    def __init__(self, folder: Path, limits: Limits) -> None:
        self._folder, self._limits = folder, limits
        self._digest = hashlib.sha256()
        self._tar: tarfile.TarFile | None = None
        self._page: list[PageRow] = []
        self._fingerprints: BinaryIO | None = None
        self._in_shard = self._shard_bytes = 0
        self.rows = 0
        self.shards: list[str] = []
        self.pages: list[str] = []

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._fingerprints = (self._folder / FINGERPRINTS).open("wb")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._fingerprints is not None
        self._fingerprints.close()
        self._end_shard()
        self._end_page()

    @property
    def sha256(self) -> str:
        """The sha256 of the rows so far."""
        return self._digest.hexdigest()

    def add(
        self,
        file_name: str,
        caption: str,
        picture: Picture,
        fingerprint: Fingerprint,
        loser: Picture | None = None,
    ) -> None:
        """Append one row."""
        text = caption.encode()
        parts = [(picture, ""), *([(loser, LOSER)] if loser is not None else [])]
        size = sum(len(part.data) for part, _ in parts)
        for data in (*(part.data for part, _ in parts), text):
            self._digest.update(hashlib.sha256(data).digest())
        if self._in_shard >= self._limits.shard_rows or self._shard_bytes + size > MOST_SHARD_BYTES:
            self._end_shard()
        if self._tar is None:
            self.shards.append(f"shard-{len(self.shards):05d}.tar")
            path = self._folder / self.shards[-1]
            self._tar = tarfile.open(path, "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115  see _end_shard
        key = f"{self.rows:08d}"
        places: list[Place | None] = [None, None]
        for number, (part, role) in enumerate(parts):
            start = _write(self._tar, f"{key}{role}.{part.format}", part.data)
            places[number] = Place(len(self.shards) - 1, start, len(part.data), part.format)
        _write(self._tar, f"{key}.txt", text)
        self._tar.members.clear()  # type: ignore[attr-defined]  # or it keeps all of them until it is closed
        self._in_shard += 1
        self._shard_bytes += size
        assert self._fingerprints is not None
        self._fingerprints.write(fingerprint.packed())
        size_of = (picture.width, picture.height, picture.thumbnail)
        self._page.append(
            PageRow(
                self.rows, file_name, caption, *size_of, None if loser is None else loser.thumbnail, *places
            )
        )
        self.rows += 1
        if len(self._page) == self._limits.page_rows:
            self._end_page()

    def _end_shard(self) -> None:
        if self._tar is not None:
            self._tar.close()
        self._tar = None
        self._in_shard = self._shard_bytes = 0

    def _end_page(self) -> None:
        if self._page:
            self.pages.append(f"page-{len(self.pages):05d}.json")
            (self._folder / self.pages[-1]).write_text(json.dumps([asdict(row) for row in self._page]))
            self._page = []


def _write(tar: tarfile.TarFile, name: str, data: bytes) -> int:
    """Append a file and return where its bytes begin."""
    entry = tarfile.TarInfo(name)  # mode 0644, time 0, no owner
    entry.size = len(data)
    start = tar.fileobj.tell() + tarfile.BLOCKSIZE
    tar.addfile(entry, io.BytesIO(data))
    return start


def page_rows(text: bytes) -> list[PageRow]:
    """Read a page back."""
    rows: list[dict[str, Any]] = json.loads(text)
    return [
        PageRow(**row | {name: _place(row.get(name)) for name in ("place", "loser_place")}) for row in rows
    ]


def _place(told: dict[str, Any] | None) -> Place | None:
    return None if told is None else Place(**told)
