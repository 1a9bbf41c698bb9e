"""Which picture has which caption: by ``metadata.jsonl``, ``metadata.csv``, or a ``.txt`` beside each."""

import csv
import json
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import PurePosixPath
from unicodedata import normalize

from core.ingest.archives import Archive
from core.ingest.limits import BadArchive, BadRow, Limits
from core.ingest.pictures import OTHER_PICTURES, SUFFIXES

TABLES = ("metadata.jsonl", "metadata.csv")
MOST_LINE_BYTES = 1 << 20


@dataclass(frozen=True)
class Candidate:
    """A picture with its caption, or the reason why there is none."""

    file: str
    row: int | None
    """Line of the metadata file, from 1; None for sidecars."""
    caption: str = ""
    reason: str | None = None


def candidates(archive: Archive) -> Generator[Candidate, None, None]:
    """Yield every row of an archive in order, then what no row speaks of. To be closed: it holds a file open.

    Raises:
        BadArchive: there are several metadata files, or the one there is cannot be read at all.
    """
    tables = [name for name in sorted(archive.sizes) if PurePosixPath(name).name in TABLES]
    if not tables:
        yield from _sidecars(archive)
        return
    highest = min(name.count("/") for name in tables)
    tables = [name for name in tables if name.count("/") == highest]
    if len(tables) > 1:
        raise BadArchive(f"{tables[0]} and {tables[1]}: one metadata file is expected, not several")
    with closing(archive.lines(tables[0], at_most=MOST_LINE_BYTES)) as lines:
        found = _jsonl(lines, tables[0]) if tables[0].endswith(".jsonl") else _csv(lines, tables[0])
        yield from _table(archive, tables[0], found)


def _table(archive: Archive, table: str, rows: Iterator[Candidate]) -> Iterator[Candidate]:
    """Resolve the names of a table beside the table; refuse the missing and those named twice."""
    root = PurePosixPath(table).parent
    seen: set[str] = set()
    for row in rows:
        if row.reason is not None:
            yield row
            continue
        name = normalize("NFC", str(root / row.file))
        if name not in archive.sizes:
            yield Candidate(row.file, row.row, reason="no such file in the archive")
        elif name in seen:
            yield Candidate(row.file, row.row, reason="named a second time")
        else:
            seen.add(name)
            yield Candidate(name, row.row, row.caption, _caption_reason(row.caption, archive.limits))
    for name in sorted(archive.sizes):
        if name not in seen and _is_picture(name):
            yield Candidate(name, None, reason=f"no row of {table} names it")


def _jsonl(lines: Iterator[bytes], table: str) -> Iterator[Candidate]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
        except UnicodeDecodeError:
            yield Candidate(table, number, reason="not UTF-8")
            continue
        except (ValueError, RecursionError):
            yield Candidate(table, number, reason="not a line of JSON")
            continue
        yield _entry(entry, table, number)


def _csv(lines: Iterator[bytes], table: str) -> Iterator[Candidate]:
    def text() -> Iterator[str]:
        for number, line in enumerate(lines, start=1):
            try:
                yield line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise BadArchive(f"{table}, line {number}: not UTF-8") from error

    reader = csv.DictReader(text())
    try:
        if not {"file_name", "text"} <= set(reader.fieldnames or ()):
            raise BadArchive(f"{table}: the first line must name the columns file_name and text")
        for entry in reader:
            yield _entry(entry, table, reader.line_num)
    except csv.Error as error:
        raise BadArchive(f"{table}, line {reader.line_num}: {error}") from error


def _entry(entry: object, table: str, number: int) -> Candidate:
    if not isinstance(entry, dict):
        return Candidate(table, number, reason="not an object with file_name and text")
    name, caption = entry.get("file_name"), entry.get("text")
    if not isinstance(name, str) or not name:
        return Candidate(table, number, reason="file_name is missing or no text")
    if not isinstance(caption, str):
        return Candidate(name, number, reason="text is missing or no text")
    return Candidate(name, number, caption.strip())


def _sidecars(archive: Archive) -> Iterator[Candidate]:
    for name in sorted(archive.sizes):
        path = PurePosixPath(name)
        if _is_picture(name):
            yield _beside(archive, name, str(path.with_suffix(".txt")))
        elif path.suffix == ".txt" and not any(
            str(path.with_suffix(suffix)) in archive.sizes
            for each in SUFFIXES | OTHER_PICTURES
            for suffix in (each, each.upper())
        ):
            yield Candidate(name, None, reason="a caption without a picture beside it")


def _beside(archive: Archive, name: str, sidecar: str) -> Candidate:
    if sidecar not in archive.sizes:
        return Candidate(name, None, reason=f"no caption: {PurePosixPath(sidecar).name} is not beside it")
    try:
        data = archive.read(sidecar, at_most=8 * archive.limits.max_caption_characters)
        caption = data.decode("utf-8-sig").strip()
    except BadRow as error:
        return Candidate(name, None, reason=f"its caption is {error}")
    except UnicodeDecodeError:
        return Candidate(name, None, reason="its caption is not UTF-8")
    return Candidate(name, None, caption, _caption_reason(caption, archive.limits))


def _caption_reason(caption: str, limits: Limits) -> str | None:
    if not caption:
        return "its caption is empty"
    if len(caption) > limits.max_caption_characters:
        return f"its caption is longer than {limits.max_caption_characters} characters"
    if not _encodable(caption) or "\0" in caption:
        return "its caption holds what is no text"
    return None


def _encodable(text: str) -> bool:
    """Tell whether a text is free of lone surrogates, which JSON can smuggle in and no database takes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_picture(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in SUFFIXES | OTHER_PICTURES
