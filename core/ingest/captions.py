"""Which picture has which caption: by ``metadata.jsonl``, ``metadata.csv``, or a file beside each picture.

Beside it means KEY.txt, or KEY.json with a caption in it, as WebDataset writes them. A picture may have lost
against another: ``loser_file_name`` in a table, KEY.loser.png beside KEY.png.
"""

import csv
import json
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from unicodedata import normalize

from core.ingest.archives import Archive
from core.ingest.limits import BadArchive, BadRow
from core.ingest.options import Columns
from core.ingest.rows import LOSER, OTHER_PICTURES, PICTURE_SUFFIXES, Found, Read, caption_reason

TABLES = ("metadata.jsonl", "metadata.csv")
MOST_LINE_BYTES = 1 << 20
CAPTION_FIELDS = ("caption", "text", "prompt")
SUFFIXES = tuple(form for each in sorted(PICTURE_SUFFIXES | OTHER_PICTURES) for form in (each, each.upper()))
FILE_NAME, TEXT, LOSER_FILE_NAME = "file_name", "text", "loser_file_name"


@dataclass(frozen=True)
class _Entry:
    """One row of a table: the names it tells, or why it tells none."""

    file: str
    row: int
    caption: str = ""
    loser: str | None = None
    reason: str | None = None


def captioned(archive: Archive, columns: Columns) -> Generator[Found, None, None]:
    """Yield every row of an archive in order, then what no row speaks of. To be closed: it holds a file open.

    Raises:
        BadArchive: there are several metadata files, or the one there is cannot be read at all.
    """
    tables = [name for name in sorted(archive.sizes) if PurePosixPath(name).name in TABLES]
    if not tables:
        if columns != Columns():
            raise BadArchive(f"columns are told, but there is neither {' nor '.join(TABLES)} in the archive")
        yield from _sidecars(archive)
        return
    highest = min(name.count("/") for name in tables)
    tables = [name for name in tables if name.count("/") == highest]
    if len(tables) > 1:
        raise BadArchive(f"{tables[0]} and {tables[1]}: one metadata file is expected, not several")
    with closing(archive.lines(tables[0], at_most=MOST_LINE_BYTES)) as lines:
        reader = _jsonl if tables[0].endswith(".jsonl") else _csv
        yield from _table(archive, tables[0], reader(lines, tables[0], columns))


def pictures_in(archive: Archive) -> int:
    """Return about how many rows there are, for those who wait."""
    return sum(PurePosixPath(name).suffix.lower() in PICTURE_SUFFIXES for name in archive.sizes)


def _table(archive: Archive, table: str, entries: Iterator[_Entry]) -> Iterator[Found]:
    """Resolve the names of a table beside the table; refuse the missing and those named twice."""
    root = PurePosixPath(table).parent
    seen: set[tuple[str, str | None]] = set()
    named: set[str] = set()
    for entry in entries:
        if entry.reason is not None:
            yield Found(entry.file, entry.row, reason=entry.reason)
            continue
        name = normalize("NFC", str(root / entry.file))
        loser = None if entry.loser is None else normalize("NFC", str(root / entry.loser))
        if name not in archive.sizes:
            yield Found(entry.file, entry.row, reason="no such file in the archive")
        elif loser is not None and loser not in archive.sizes:
            yield Found(entry.file, entry.row, reason=f"{entry.loser}: no such file in the archive")
        elif (name, loser) in seen:
            yield Found(entry.file, entry.row, reason="named a second time")
        else:
            seen.add((name, loser))
            named |= {name} if loser is None else {name, loser}
            yield _found(archive, name, entry.row, entry.caption, loser)
    for name in sorted(archive.sizes):
        if name not in named and _is_picture(name):
            yield Found(name, None, reason=f"no row of {table} names it")


def _jsonl(lines: Iterator[bytes], table: str, columns: Columns) -> Iterator[_Entry]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
        except UnicodeDecodeError:
            yield _Entry(table, number, reason="not UTF-8")
            continue
        except (ValueError, RecursionError):
            yield _Entry(table, number, reason="not a line of JSON")
            continue
        yield _entry(entry, table, number, columns)


def _csv(lines: Iterator[bytes], table: str, columns: Columns) -> Iterator[_Entry]:
    def text() -> Iterator[str]:
        for number, line in enumerate(lines, start=1):
            try:
                yield line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise BadArchive(f"{table}, line {number}: not UTF-8") from error

    reader = csv.DictReader(text())
    file_name, caption = columns.image or FILE_NAME, columns.caption or TEXT
    try:
        if not {file_name, caption} <= set(reader.fieldnames or ()):
            raise BadArchive(f"{table}: the first line must name the columns {file_name} and {caption}")
        for entry in reader:
            yield _entry(entry, table, reader.line_num, columns)
    except csv.Error as error:
        raise BadArchive(f"{table}, line {reader.line_num}: {error}") from error


def _entry(entry: Any, table: str, number: int, columns: Columns) -> _Entry:
    file_name, text = columns.image or FILE_NAME, columns.caption or TEXT
    if not isinstance(entry, dict):
        return _Entry(table, number, reason=f"not an object with {file_name} and {text}")
    name, caption, loser = entry.get(file_name), entry.get(text), entry.get(LOSER_FILE_NAME)
    if not isinstance(name, str) or not name:
        return _Entry(table, number, reason=f"{file_name} is missing or no text")
    if not isinstance(caption, str):
        return _Entry(name, number, reason=f"{text} is missing or no text")
    if loser is not None and not isinstance(loser, str):
        return _Entry(name, number, reason=f"{LOSER_FILE_NAME} is no text")
    return _Entry(name, number, caption.strip(), loser or None)


def _sidecars(archive: Archive) -> Iterator[Found]:
    for name in sorted(archive.sizes):
        path = PurePosixPath(name)
        key = str(path.with_suffix(""))
        if not _is_picture(name):
            if path.suffix == ".txt" and _picture_of(archive, key) is None:
                yield Found(name, None, reason="a caption without a picture beside it")
        elif not key.endswith(LOSER):
            yield _beside(archive, name, key, _picture_of(archive, key + LOSER))
        elif _picture_of(archive, key.removesuffix(LOSER)) is None:
            yield Found(name, None, reason="a loser without a winner beside it")


def _picture_of(archive: Archive, key: str) -> str | None:
    """Return the name of a key's picture; asked of the archive: a million keys need no second list."""
    return next((key + suffix for suffix in SUFFIXES if key + suffix in archive.sizes), None)


def _beside(archive: Archive, name: str, key: str, loser: str | None) -> Found:
    try:
        if f"{key}.txt" in archive.sizes:
            caption = _of_text(archive, f"{key}.txt")
        elif f"{key}.json" in archive.sizes:
            caption = _of_json(archive, f"{key}.json")
        else:
            wanted = PurePosixPath(f"{key}.txt").name
            return Found(name, None, reason=f"no caption: {wanted} is not beside it")
    except BadRow as error:
        return Found(name, None, reason=f"its caption is {error}")
    except UnicodeDecodeError:
        return Found(name, None, reason="its caption is not UTF-8")
    return _found(archive, name, None, caption, loser)


def _of_text(archive: Archive, name: str) -> str:
    data = archive.read(name, at_most=8 * archive.limits.max_caption_characters)
    return data.decode("utf-8-sig").strip()


def _of_json(archive: Archive, name: str) -> str:
    data = archive.read(name, at_most=MOST_LINE_BYTES).decode("utf-8-sig")
    try:
        told = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadRow(f"not JSON, in {PurePosixPath(name).name}") from error
    found = [told[field] for field in CAPTION_FIELDS if field in told] if isinstance(told, dict) else []
    if not found or not isinstance(found[0], str):
        raise BadRow(f"not in {PurePosixPath(name).name}: {', '.join(CAPTION_FIELDS)} are its usual names")
    return found[0].strip()


def _found(archive: Archive, name: str, row: int | None, caption: str, loser: str | None) -> Found:
    reason = caption_reason(caption, archive.limits)
    if reason is not None:
        return Found(name, row, reason=reason)
    beaten = None if loser is None else _reader(archive, loser)
    return Found(name, row, caption, read=_reader(archive, name), read_loser=beaten)


def _reader(archive: Archive, name: str) -> Read:
    return lambda at_most: archive.read(name, at_most=at_most)


def _is_picture(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in PICTURE_SUFFIXES | OTHER_PICTURES
