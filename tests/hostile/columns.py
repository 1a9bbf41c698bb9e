"""Hostile parquet files."""

import io
from collections.abc import Callable
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from tests.core.archives import picture
from tests.hostile.packing import Hostile, patched

DAMAGED = "the parquet file is damaged ("


def written(columns: dict[str, Any], **more: Any) -> bytes:
    """Return a parquet file."""
    sink = io.BytesIO()
    parquet.write_table(pa.table(columns), sink, **more)
    return sink.getvalue()


def good(rows: int = 3) -> dict[str, Any]:
    """Return columns of sound rows."""
    return {"image": [picture()] * rows, "caption": [f"number {row}" for row in range(rows)]}


def one_value_many_times() -> bytes:
    """Return a small file that a dictionary makes 15 MB of: the same megabyte in every row."""
    value = bytes(range(256)) * 3900
    return written({"image": [value] * 15, "caption": ["x"] * 15}, use_dictionary=True, compression="zstd")


def many_bytes() -> bytes:
    return written(
        {"image": [bytes(1_000_000)] * 15, "caption": ["x"] * 15}, use_dictionary=False, compression="zstd"
    )


def one_large_value() -> bytes:
    return written({"image": [bytes(1_000_001)], "caption": ["x"]}, compression="zstd")


def cut_in_a_page() -> bytes:
    """Return a file of which a part in the middle is missing; the footer is whole."""
    data = written(good(30), use_dictionary=False, compression="none")
    return data[:200] + data[1200:]


def lying_footer() -> bytes:
    """Return a file whose last words say that the footer has two gigabytes."""
    data = written(good())
    return patched(data, (len(data) - 8, (0x7FFFFFFF).to_bytes(4, "little")))


def junk_footer() -> bytes:
    data = written(good())
    size = int.from_bytes(data[-8:-4], "little")
    return patched(data, (len(data) - 8 - size, b"\xff" * size))


def junk_pages() -> bytes:
    data = written(good(), compression="none", use_dictionary=False)
    return patched(data, (4, b"\xff" * 60))


def deep() -> bytes:
    kind = pa.binary()
    for _ in range(30):
        kind = pa.struct([("bytes", kind)])
    return written({"image": pa.array([None], kind), "caption": ["x"]})


def caption_of_bytes() -> bytes:
    """Return a file whose captions say that they are text, and are not UTF-8."""
    data = written(
        {"image": [picture()], "caption": ["ZZZZZZZZ"]}, compression="none", write_statistics=False
    )
    return data.replace(b"ZZZZZZZZ", b"\xff\xfeZZZZZZ")


def pairs(**more: Any) -> bytes:
    columns = {
        "jpg_0": [picture(kind="JPEG")],
        "jpg_1": [picture("blue", kind="JPEG")],
        "label_0": [1.0],
        "label_1": [0.0],
        "caption": ["a red one"],
    }
    return written(columns | more)


def case(name: str, make: Callable[[], bytes], says: str) -> Hostile:
    return Hostile(f"parquet: {name}", make, says)


COLUMNS = [
    case("cut", lambda: written(good())[:-20], "the parquet file is cut off"),
    case("signature alone", lambda: b"PAR1", DAMAGED),
    case("encrypted", lambda: b"PARE" + bytes(100) + b"PARE", "the parquet file is encrypted"),
    case("lying footer", lying_footer, DAMAGED),
    case("junk footer", junk_footer, DAMAGED),
    case("junk pages", junk_pages, DAMAGED),
    case("cut in a page", cut_in_a_page, DAMAGED),
    case("deep", deep, DAMAGED),
    case("count", lambda: written(good(51)), "the parquet file has more than 50 rows"),
    case("bomb by dictionary", one_value_many_times, "no row can be used; 15 left out, the first: row 1"),
    case("large values", many_bytes, "no row can be used; 15 left out, the first: row 1, line 1: "),
    case("one large value", one_large_value, "row 1, line 1: larger than 1.0 MB"),
    case("no pictures", lambda: written({"url": ["x"], "caption": ["x"]}), "no column of pictures is found"),
    case("no captions", lambda: written({"image": [b"x"], "label": [1]}), "no column of captions is found"),
    case("numbers", lambda: written({"image": [1], "text": ["x"]}), "the column image holds int64: bytes"),
    case(
        "text of numbers", lambda: written({"image": [b"x"], "text": [1.5]}), "the column text holds double"
    ),
    case(
        "no rows",
        lambda: written({"image": pa.array([], pa.binary()), "text": pa.array([], pa.string())}),
        "no captioned pictures",
    ),
    case(
        "nulls", lambda: written({"image": pa.array([None], pa.binary()), "text": ["x"]}), "picture is null"
    ),
    case("caption of bytes", caption_of_bytes, "row 1, line 1: its caption is not UTF-8"),
    case(
        "paths alone",
        lambda: written({"image": [{"bytes": None, "path": "/etc/passwd"}], "text": ["x"]}),
        "its picture is ",
    ),
    case("labels", lambda: pairs(label_0=[float("nan")]), "label_0 and label_1 are not two numbers"),
    case("broken loser", lambda: pairs(jpg_1=[b"junk"]), "the picture that lost: not a PNG, JPEG or WebP"),
    case("ties alone", lambda: pairs(label_0=[0.0]), "no captioned pictures"),
]
