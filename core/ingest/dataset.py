"""An archive becomes a dataset: row by row, in bounded memory, wholly or not at all.

Pure of the database and of the store: it reads one file and writes one folder, in a process of its own,
which a supervisor limits in memory and time.
"""

import hashlib
import shutil
from collections import Counter
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from core.ingest.archives import Archive, open_archive
from core.ingest.captions import Candidate, candidates
from core.ingest.limits import BadArchive, BadRow, Limits
from core.ingest.pictures import Picture, look
from core.ingest.shards import Shards


@dataclass
class _Span:
    """The least, the mean and the most of a number."""

    least: int | None = None
    most: int | None = None
    total: int = 0
    count: int = 0

    def add(self, value: int) -> None:
        self.least = value if self.least is None else min(self.least, value)
        self.most = value if self.most is None else max(self.most, value)
        self.total += value
        self.count += 1

    def as_json(self) -> dict[str, Any]:
        return {"min": self.least, "mean": round(self.total / max(1, self.count), 2), "max": self.most}


@dataclass
class Statistics:
    """What is counted while rows pass by."""

    size: int = 0
    repeated_pictures: int = 0
    formats: Counter[str] = field(default_factory=Counter)
    spans: dict[str, _Span] = field(
        default_factory=lambda: {name: _Span() for name in ("width", "height", "caption_characters")}
    )
    seen: set[bytes] = field(default_factory=set)

    def add(self, data: bytes, caption: str, picture: Picture) -> None:
        """Count one row."""
        self.size += len(data)
        self.formats[picture.format] += 1
        for name, value in (
            ("width", picture.width),
            ("height", picture.height),
            ("caption_characters", len(caption)),
        ):
            self.spans[name].add(value)
        digest = hashlib.sha256(data).digest()[:12]
        self.repeated_pictures += digest in self.seen
        self.seen.add(digest)


@dataclass(frozen=True)
class Ingested:
    """A dataset in a folder: its shards and pages, and what is told of it."""

    rows: int
    sha256: str
    rejected: list[dict[str, Any]]
    """``{file, row, reason}`` of rows left out: the first thousand; the statistics tell how many."""
    statistics: dict[str, Any]
    shards: list[str]
    pages: list[str]

    def as_json(self) -> dict[str, Any]:
        """Return the result of a unit, before its files have keys."""
        return asdict(self)


class NoRows(BadArchive):
    """The archive is sound, but none of its rows can be used."""

    def __init__(self, message: str, rejected: list[dict[str, Any]]) -> None:
        super().__init__(message)
        self.rejected = rejected


def ingest(archive: Path, out: Path, *, limits: Limits) -> Ingested:
    """Check every row of an archive and write the good ones into a new folder.

    Args:
        archive: a zip, tar or tar.gz of pictures with captions.
        out: the folder to make; it is gone again if this fails.
        limits: what it may cost.

    Raises:
        BadArchive: nothing of it can be used; the message says why, and ``NoRows`` lists the rows.
    """
    out.mkdir(parents=True)
    try:
        with open_archive(archive, scratch=out, limits=limits) as opened:
            return _write(opened, out, limits)
    except BaseException:
        shutil.rmtree(out)
        raise


def _write(archive: Archive, out: Path, limits: Limits) -> Ingested:
    statistics = Statistics()
    rejected: list[dict[str, Any]] = []
    left_out = 0
    with Shards(out, limits) as shards, closing(candidates(archive)) as found:
        for candidate in found:
            try:
                data, picture = _checked(archive, candidate, limits)
            except BadRow as error:
                left_out += 1
                if len(rejected) < limits.listed_rejections:
                    rejected.append(
                        {"file": candidate.file[:500], "row": candidate.row, "reason": str(error)[:500]}
                    )
                continue
            shards.add(candidate.file, candidate.caption, data, picture)
            statistics.add(data, candidate.caption, picture)
    if not shards.rows:
        raise NoRows(_why_none(rejected, left_out), rejected)
    told = {
        "rows": shards.rows,
        "rejected": left_out,
        "bytes": statistics.size,
        "repeated_pictures": statistics.repeated_pictures,
        "formats": dict(sorted(statistics.formats.items())),
        **{name: span.as_json() for name, span in statistics.spans.items()},
    }
    return Ingested(shards.rows, shards.sha256, rejected, told, shards.shards, shards.pages)


def _checked(archive: Archive, candidate: Candidate, limits: Limits) -> tuple[bytes, Picture]:
    if candidate.reason is not None:
        raise BadRow(candidate.reason)
    data = archive.read(candidate.file, at_most=limits.max_picture_bytes)
    return data, look(data, limits)


def _why_none(rejected: list[dict[str, Any]], left_out: int) -> str:
    if not rejected:
        return (
            "the archive holds no captioned pictures: put metadata.jsonl (a line of file_name and text for "
            "each picture), metadata.csv, or a .txt file beside each picture into it"
        )
    first = rejected[0]
    where = f"{first['file']}, line {first['row']}" if first["row"] else first["file"]
    return f"no row can be used; {left_out} left out, the first: {where}: {first['reason']}"
