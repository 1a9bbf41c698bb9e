"""Parquet files: a column of pictures (bytes, or a struct with ``bytes``) and one of captions.

The columns of Pick-a-Pic v2 are understood: of two pictures of a caption the one with the higher label won.
A file is read row group by row group, page by page, a few rows at a time: a dictionary page makes large
values out of few bytes, so that only the number of rows in hand bounds the memory.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from core.ingest.limits import BadArchive, BadRow, Limits, size_in_words
from core.ingest.options import Columns
from core.ingest.rows import Found, PassedOver, Read, caption_reason

MAGIC, ENCRYPTED = b"PAR1", b"PARE"
IMAGE_COLUMNS = ("image", "jpg", "png", "webp", "picture", "img", "image_bytes", "bytes")
CAPTION_COLUMNS = ("caption", "text", "prompt", "TEXT")
PAIR_COLUMNS = frozenset({"jpg_0", "jpg_1", "label_0", "label_1", "caption"})
HAS_LABEL = "has_label"
IN_HAND_BYTES = 256 << 20
MOST_IN_HAND = 32
BUFFER = 1 << 20
LARGEST_FOOTER = 64 << 20
MOST_COLUMNS = 10_000
DEPTH = 16
ANEW = "write it anew and upload it again"

Entry = dict[str, Any]


@dataclass(frozen=True)
class Table:
    """An open parquet file whose columns are found."""

    file: parquet.ParquetFile
    limits: Limits
    image: str
    """Of pictures; in pairs, of the first."""
    caption: str
    pairs: bool

    @property
    def rows(self) -> int:
        """How many rows it says it has."""
        return int(self.file.metadata.num_rows)


@contextmanager
def open_parquet(path: Path, *, limits: Limits, columns: Columns) -> Iterator[Table]:
    """Open a parquet file.

    Raises:
        BadArchive: it is damaged, encrypted, over a limit, or its columns cannot be told.
    """
    with path.open("rb") as stream:
        stream.seek(-4, 2)
        if stream.read(4) != MAGIC:
            raise BadArchive(f"the parquet file is cut off: {ANEW}")
    # Memory that is freed goes back at once, and none is reserved: the process has a limit of addresses.
    pa.set_memory_pool(pa.system_memory_pool())
    with _told():
        file = parquet.ParquetFile(
            path,
            pre_buffer=False,
            buffer_size=BUFFER,
            thrift_string_size_limit=LARGEST_FOOTER,
            thrift_container_size_limit=limits.max_entries,
            schema_depth_limit=DEPTH,
            arrow_extensions_enabled=False,
        )
    with file:
        with _told():
            _check_cost(file.metadata, path.stat().st_size, limits)
            schema = file.schema_arrow
        yield _table(file, schema, limits, columns)


def tabled(table: Table) -> Iterator[Found | PassedOver]:
    """Yield every row of a table in order.

    Raises:
        BadArchive: a page of it is damaged; what came before is of no use without the rest.
    """
    wanted = [table.image, table.caption]
    if table.pairs:
        wanted = sorted(PAIR_COLUMNS | ({HAS_LABEL} & set(table.file.schema_arrow.names)))
    at_once = max(1, min(MOST_IN_HAND, IN_HAND_BYTES // table.limits.max_picture_bytes))
    number = 0
    with _told():
        batches = table.file.iter_batches(batch_size=at_once, columns=wanted, use_threads=False)
    while True:
        with _told():
            batch = next(batches, None)
            if batch is None:
                return
            # Row by row: a caption that is not UTF-8 is its own row's mistake.
            entries = [_entry(batch, index) for index in range(batch.num_rows)]
        for entry in entries:
            number += 1
            yield _of_pair(table, number, entry) if table.pairs else _of_row(table, number, entry)


@contextmanager
def _told() -> Iterator[None]:
    """Tell Arrow's errors in our words."""
    try:
        yield
    except MemoryError as error:
        raise BadArchive("the parquet file holds values or pages that are too large to read") from error
    except (pa.ArrowException, OSError, OverflowError) as error:
        reason = str(error).partition("\n")[0][:200]
        raise BadArchive(f"the parquet file is damaged ({reason}): {ANEW}") from error


def _check_cost(told: parquet.FileMetaData, packed: int, limits: Limits) -> None:
    if told.num_rows > limits.max_entries or told.num_row_groups > limits.max_entries:
        raise BadArchive(f"the parquet file has more than {limits.max_entries} rows")
    if told.num_columns > MOST_COLUMNS:
        raise BadArchive(f"the parquet file has more than {MOST_COLUMNS} columns")
    groups = [told.row_group(number) for number in range(told.num_row_groups)]
    if any(group.num_rows < 0 or group.total_byte_size < 0 for group in groups):
        raise BadArchive(f"the parquet file is damaged (a size below zero): {ANEW}")
    unpacked = sum(group.total_byte_size for group in groups)
    if unpacked > limits.max_unpacked_bytes:
        raise BadArchive(f"the parquet file unpacks to more than {size_in_words(limits.max_unpacked_bytes)}")
    if unpacked > limits.max_unpack_ratio * packed + IN_HAND_BYTES:
        ratio = f"{limits.max_unpack_ratio:g}"
        raise BadArchive(f"the parquet file unpacks to more than {ratio} times its size, as a bomb does")


def _table(file: parquet.ParquetFile, schema: pa.Schema, limits: Limits, columns: Columns) -> Table:
    names = set(schema.names)
    if len(names) != len(schema.names):
        raise BadArchive("the parquet file has two columns of one name")
    if columns == Columns() and names >= PAIR_COLUMNS:
        return Table(file, limits, "jpg_0", "caption", pairs=True)
    image = _column(names, columns.image, IMAGE_COLUMNS, "pictures", "image")
    caption = _column(names, columns.caption, CAPTION_COLUMNS, "captions", "caption")
    kind, text = schema.field(image).type, schema.field(caption).type
    if pa.types.is_struct(kind):
        if "bytes" not in {kind.field(at).name for at in range(kind.num_fields)}:
            raise BadArchive(f"the column {image} has no field `bytes` with the pictures themselves")
    elif not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
        raise BadArchive(f"the column {image} holds {kind}: bytes of pictures are expected")
    if not (pa.types.is_string(text) or pa.types.is_large_string(text)):
        raise BadArchive(f"the column {caption} holds {text}: text is expected")
    return Table(file, limits, image, caption, pairs=False)


def _column(names: set[str], told: str | None, usual: tuple[str, ...], what: str, option: str) -> str:
    if told is not None:
        if told not in names:
            raise BadArchive(f"there is no column {told}; there are {', '.join(sorted(names)[:20])}")
        return told
    found = [name for name in usual if name in names]
    if not found:
        raise BadArchive(
            f"no column of {what} is found among {', '.join(sorted(names)[:20])}: "
            f"tell its name as columns.{option}"
        )
    return found[0]


def _entry(batch: pa.RecordBatch, index: int) -> Entry:
    """Return one row; a text that is not UTF-8 becomes a UnicodeDecodeError in its place."""
    entry: Entry = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        try:
            entry[name] = column[index].as_py()
        except UnicodeDecodeError as error:
            entry[name] = error
    return entry


def _of_row(table: Table, number: int, entry: Entry) -> Found:
    value = entry[table.image]
    if isinstance(value, UnicodeDecodeError):
        return Found(f"row {number}", number, reason="its picture's path is not UTF-8")
    path = value.get("path") if isinstance(value, dict) else None
    data = value.get("bytes") if isinstance(value, dict) else value
    name = path if isinstance(path, str) and path else f"row {number}"
    if data is None:
        reason = "its picture is null" if path is None else "its picture is a path alone: bytes are expected"
        return Found(name, number, reason=reason)
    return _captioned(table, name, number, entry, _reader(data), None)


def _of_pair(table: Table, number: int, entry: Entry) -> Found | PassedOver:
    """Return the winner with its loser; labels are 1 and 0 in Pick-a-Pic, or 0.5 each for a tie."""
    name = f"row {number}"
    labels = entry["label_0"], entry["label_1"]
    if entry.get(HAS_LABEL) is False:
        return PassedOver("unlabelled")
    if not all(isinstance(label, int | float) and 0 <= label <= 1 for label in labels):
        return Found(name, number, reason="label_0 and label_1 are not two numbers from 0 to 1")
    if labels[0] == labels[1]:
        return PassedOver("ties")
    won, lost = ("jpg_0", "jpg_1") if labels[0] > labels[1] else ("jpg_1", "jpg_0")
    if not isinstance(entry[won], bytes) or not isinstance(entry[lost], bytes):
        return Found(name, number, reason=f"{won} or {lost} holds no bytes of a picture")
    return _captioned(table, name, number, entry, _reader(entry[won]), _reader(entry[lost]))


def _captioned(
    table: Table, name: str, number: int, entry: Entry, read: Read, read_loser: Read | None
) -> Found:
    caption = entry[table.caption]
    if isinstance(caption, UnicodeDecodeError):
        return Found(name, number, reason="its caption is not UTF-8")
    if not isinstance(caption, str):
        return Found(name, number, reason="its caption is null")
    caption = caption.strip()
    reason = caption_reason(caption, table.limits)
    if reason is not None:
        return Found(name, number, reason=reason)
    return Found(name, number, caption, read=read, read_loser=read_loser)


def _reader(data: bytes) -> Read:
    def read(at_most: int) -> bytes:
        if len(data) > at_most:
            raise BadRow(f"larger than {size_in_words(at_most)}")
        return data

    return read
