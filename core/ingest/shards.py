"""The canonical form of a dataset: tar shards for the engine, pages of rows with thumbnails for people."""

import hashlib
import io
import json
import tarfile
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from core.ingest.limits import Limits
from core.ingest.pictures import Picture

MOST_SHARD_BYTES = 512 << 20


@dataclass(frozen=True)
class PageRow:
    """One row as people see it."""

    index: int
    file_name: str
    text: str
    width: int
    height: int
    thumbnail: str


class Shards:
    """Writes rows into ``shard-00000.tar``, ... and ``page-00000.json``, ...; the same rows, the same bytes.

    A shard holds KEY.png|jpg|webp, the original bytes, and KEY.txt, and nothing of the time or the host.
    The dataset's sha256 is over the sha256 of each picture and each caption: how the rows are divided into
    shards does not change it.
    """

    def __init__(self, folder: Path, limits: Limits) -> None:
        self._folder, self._limits = folder, limits
        self._digest = hashlib.sha256()
        self._tar: tarfile.TarFile | None = None
        self._page: list[PageRow] = []
        self._in_shard = self._shard_bytes = 0
        self.rows = 0
        self.shards: list[str] = []
        self.pages: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end_shard()
        self._end_page()

    @property
    def sha256(self) -> str:
        """The sha256 of the rows so far."""
        return self._digest.hexdigest()

    def add(self, file_name: str, caption: str, data: bytes, picture: Picture) -> None:
        """Append one row."""
        text = caption.encode()
        self._digest.update(hashlib.sha256(data).digest() + hashlib.sha256(text).digest())
        if self._in_shard >= self._limits.shard_rows or self._shard_bytes + len(data) > MOST_SHARD_BYTES:
            self._end_shard()
        if self._tar is None:
            self.shards.append(f"shard-{len(self.shards):05d}.tar")
            path = self._folder / self.shards[-1]
            self._tar = tarfile.open(path, "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115  see _end_shard
        key = f"{self.rows:08d}"
        _write(self._tar, f"{key}.{picture.format}", data)
        _write(self._tar, f"{key}.txt", text)
        self._in_shard += 1
        self._shard_bytes += len(data)
        self._page.append(
            PageRow(self.rows, file_name, caption, picture.width, picture.height, picture.thumbnail)
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


def _write(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)  # mode 0644, time 0, no owner
    entry.size = len(data)
    tar.addfile(entry, io.BytesIO(data))


def page_rows(text: bytes) -> list[PageRow]:
    """Read a page back."""
    rows: list[dict[str, Any]] = json.loads(text)
    return [PageRow(**row) for row in rows]
