"""A file becomes a dataset, or two: row by row, in bounded memory, wholly or not at all.

Pure of the database and of the store: it reads one file and writes one folder, in a process of its own,
which a supervisor limits in memory and time.
"""

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from core.ingest.archives import WANTED, open_archive
from core.ingest.captions import captioned, pictures_in
from core.ingest.likeness import Fingerprint, fingerprints, overlap
from core.ingest.limits import BadArchive, BadRow, Limits, printable, size_in_words
from core.ingest.options import Options
from core.ingest.parquet import ENCRYPTED, MAGIC, open_parquet, tabled
from core.ingest.pictures import Picture, look
from core.ingest.rejections import LONGEST, Rejections
from core.ingest.rows import Found, PassedOver
from core.ingest.shards import FINGERPRINTS, Shards
from core.ingest.split import TRAINING, VALIDATION, Parting
from core.ingest.statistics import Statistics

Progress = Callable[[int, int], None]
"""Is told how many rows were looked at, of about how many."""
WHOLE = ""


@dataclass(frozen=True)
class Ingested:
    """A dataset in a folder: its shards and pages, and what is told of it."""

    rows: int
    sha256: str
    rejected: list[dict[str, Any]]
    """``{file, row, reason}`` of rows left out: the first thousand."""
    rejections: list[str]
    """Files with all of them, a thousand each; none when ``rejected`` has all."""
    statistics: dict[str, Any]
    shards: list[str]
    pages: list[str]
    fingerprints: list[str]
    held_out: "Ingested | None" = None
    """The rows that were held out, in files of a subfolder."""

    def as_json(self) -> dict[str, Any]:
        """Return the result of a unit, before its files have keys."""
        return asdict(self)


class Rejected(BadArchive):
    """The file is sound, but too many of its rows are not, or all.

    ``rejected`` has the first thousand; ``pages`` are files with all of them, if there are more: they stay in
    the folder that was to become the dataset.
    """

    def __init__(self, message: str, rejections: Rejections) -> None:
        super().__init__(message)
        self.rejected = rejections.listed
        self.pages = rejections.pages


@dataclass
class _Part:
    """One of the datasets that are being written."""

    shards: Shards
    statistics: Statistics


def ingest(
    file: Path,
    out: Path,
    *,
    limits: Limits,
    options: Options | None = None,
    progress: Progress = lambda _done, _of: None,
) -> Ingested:
    """Check every row of a file and write the good ones into a new folder.

    Args:
        file: a zip, tar or tar.gz of pictures with captions, or a parquet file.
        out: the folder to make; if this fails it is gone again, or holds the pages of rejected rows alone.
        limits: what it may cost.
        options: tolerance, columns and split.
        progress: is told of each row.

    Raises:
        BadArchive: nothing of it can be used; the message says why, and ``Rejected`` lists the rows.
    """
    options = options or Options()
    out.mkdir(parents=True)
    try:
        with _rows(file, scratch=out, limits=limits, options=options) as (rows, of):
            return _write(rows, of, out, limits, options, progress)
    except Rejected as error:
        _leave(out, error.pages)
        raise
    except BaseException:
        shutil.rmtree(out)
        raise


@contextmanager
def _rows(
    file: Path, *, scratch: Path, limits: Limits, options: Options
) -> Iterator[tuple[Iterator[Found | PassedOver], int]]:
    """Yield the rows of a file, whatever it is, and about how many there are."""
    with file.open("rb") as stream:
        start = stream.read(4)
    if not start:
        raise BadArchive(f"the file is empty: {WANTED}")
    if start == ENCRYPTED:
        raise BadArchive("the parquet file is encrypted: write it without a key")
    if start == MAGIC:
        with open_parquet(file, limits=limits, columns=options.columns) as table:
            yield tabled(table), table.rows
        return
    with (
        open_archive(file, scratch=scratch, limits=limits) as archive,
        closing(captioned(archive, options.columns)) as rows,
    ):
        yield rows, pictures_in(archive)


def _write(
    rows: Iterator[Found | PassedOver],
    of: int,
    out: Path,
    limits: Limits,
    options: Options,
    progress: Progress,
) -> Ingested:
    rejections = Rejections(out, limits)
    passed_over: Counter[str] = Counter()
    parting = None if options.split is None else Parting(options.split)
    left = limits.max_unpacked_bytes
    with ExitStack() as stack:
        names = [WHOLE] if parting is None else [TRAINING, VALIDATION]
        parts = {name: _Part(stack.enter_context(Shards(out / name, limits)), Statistics()) for name in names}
        for number, row in enumerate(rows, start=1):
            if number > limits.max_entries:
                raise BadArchive(f"the file has more than {limits.max_entries} rows")
            progress(number, max(number, of))
            if isinstance(row, PassedOver):
                passed_over[row.why] += 1
                continue
            try:
                picture, loser = _looked(row, limits)
            except BadRow as error:
                rejections.add(row.file, row.row, str(error))
                continue
            left -= len(picture.data) + (0 if loser is None else len(loser.data))
            if left < 0:
                raise BadArchive(f"the file unpacks to more than {size_in_words(limits.max_unpacked_bytes)}")
            name = WHOLE if parting is None else parting.part(data=picture.data, caption=row.caption)
            part, fingerprint = parts[name], Fingerprint.of(picture.data, picture.likeness)
            shown = printable(row.file, at_most=LONGEST)
            part.shards.add(shown, row.caption, picture, fingerprint, loser)
            part.statistics.add(picture, row.caption, fingerprint, loser)
    rejections.end()
    _check(parts, rejections, options, parting)
    told = {"rejected": rejections.count, "passed_over": dict(passed_over)}
    if parting is None:
        return _ingested(parts[WHOLE], told, rejections)
    held_out = _ingested(parts[VALIDATION], {"rejected": 0, "passed_over": {}}, None)
    told["leakage"] = _leakage(out)
    return _ingested(parts[TRAINING], told, rejections, held_out)


def _looked(row: Found, limits: Limits) -> tuple[Picture, Picture | None]:
    """Read and decode the pictures of a row; BadRow when one cannot be used."""
    if row.reason is not None:
        raise BadRow(row.reason)
    assert row.read is not None, "a row without a reason has a picture"
    picture = look(row.read(limits.max_picture_bytes), limits)
    if row.read_loser is None:
        return picture, None
    try:
        return picture, look(row.read_loser(limits.max_picture_bytes), limits)
    except BadRow as error:
        raise BadRow(f"the picture that lost: {error}") from error


def _check(
    parts: dict[str, _Part], rejections: Rejections, options: Options, parting: Parting | None
) -> None:
    """Raise Rejected unless enough rows are good, and each part has some."""
    good = sum(part.shards.rows for part in parts.values())
    if not good:
        raise Rejected(_why_none(rejections), rejections)
    share = rejections.count / (good + rejections.count)
    if share > options.tolerance:
        raise Rejected(
            f"{rejections.count} of {good + rejections.count} rows are bad ({share:.1%}), more than the "
            f"tolerance of {options.tolerance:.1%}; the first: {_first(rejections)}",
            rejections,
        )
    pairs = sum(part.statistics.pairs for part in parts.values())
    if pairs not in (0, good):
        raise BadArchive(f"{pairs} of {good} rows name a picture that lost: all of them do in pairs, or none")
    if parting is not None and not all(part.shards.rows for part in parts.values()):
        kind = "captions" if parting.split.by == "caption" else "pictures"
        raise BadArchive(
            f"split: {parting.groups} different {kind} do not divide into {parting.split.validation:g} for "
            "validation and the rest: hold out a larger share, or add rows"
        )


def _ingested(
    part: _Part, more: dict[str, Any], rejections: Rejections | None, held_out: Ingested | None = None
) -> Ingested:
    shards = part.shards
    return Ingested(
        rows=shards.rows,
        sha256=shards.sha256,
        rejected=[] if rejections is None else rejections.listed,
        rejections=[] if rejections is None else rejections.pages,
        statistics=part.statistics.as_json() | more,
        shards=shards.shards,
        pages=shards.pages,
        fingerprints=[FINGERPRINTS],
        held_out=held_out,
    )


def _leakage(out: Path) -> dict[str, Any]:
    """Tell which rows that were held out have a picture of the training part, or one like it."""
    validation, training = (
        fingerprints((out / name / FINGERPRINTS).read_bytes()) for name in (VALIDATION, TRAINING)
    )
    return overlap(validation, training).as_json()


def _leave(out: Path, pages: list[str]) -> None:
    """Remove a folder but for some of its files; wholly when there are none."""
    if not pages:
        shutil.rmtree(out)
        return
    for path in out.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name not in pages:
            path.unlink()


def _why_none(rejections: Rejections) -> str:
    if not rejections.count:
        return (
            "the archive holds no captioned pictures: put metadata.jsonl (a line of file_name and text for "
            "each picture), metadata.csv, or a .txt file beside each picture into it"
        )
    return f"no row can be used; {rejections.count} left out, the first: {_first(rejections)}"


def _first(rejections: Rejections) -> str:
    first = rejections.listed[0]
    where = f"{first['file']}, line {first['row']}" if first["row"] else first["file"]
    return f"{where}: {first['reason']}"
