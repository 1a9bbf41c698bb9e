"""Parquet: columns found or told, pictures as bytes or in a struct, Pick-a-Pic's pairs, bounded memory."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from core.ingest.dataset import Ingested, ingest
from core.ingest.limits import BadArchive
from core.ingest.options import Columns, Options
from core.ingest.shards import page_rows
from spin_engine import data as engine
from tests.core.archives import LIMITS, picture

RED, BLUE = picture("red", kind="JPEG"), picture("blue", kind="JPEG")


def ingested(folder: Path, columns: dict[str, Any], options: Options | None = None, **more: Any) -> Ingested:
    parquet.write_table(pa.table(columns), folder / "a.parquet", **more)
    return ingest(folder / "a.parquet", folder / "out", limits=LIMITS, options=options)


def rows_of(folder: Path, found: Ingested) -> list[tuple[str, str]]:
    pages = [page_rows((folder / "out" / page).read_bytes()) for page in found.pages]
    return [(row.file_name, row.text) for page in pages for row in page]


@pytest.mark.parametrize("compression", ["none", "snappy", "zstd"])
def test_bytes_and_captions(tmp_path: Path, compression: str) -> None:
    columns = {"jpg": [RED, BLUE], "url": ["x", "y"], "text": [" one ", "two"]}
    found = ingested(tmp_path, columns, compression=compression, row_group_size=1)
    assert rows_of(tmp_path, found) == [("row 1", "one"), ("row 2", "two")]
    assert [row.read() for row in engine.rows(tmp_path / "out")] == [RED, BLUE]


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()])
def test_structs_of_bytes_and_path(tmp_path: Path, kind: pa.DataType) -> None:
    struct = pa.struct([("bytes", kind), ("path", pa.string())])
    images = pa.array([{"bytes": RED, "path": "p/a.jpg"}, {"bytes": BLUE, "path": None}, None], struct)
    found = ingested(tmp_path, {"image": images, "caption": ["one", "two", "three"]})
    assert rows_of(tmp_path, found) == [("p/a.jpg", "one"), ("row 2", "two")]
    assert found.rejected == [{"file": "row 3", "row": 3, "reason": "its picture is null"}]


def test_each_bad_row_is_told_with_its_number(tmp_path: Path) -> None:
    columns = {"image": [RED, b"junk", RED, RED], "caption": ["one", "two", None, "x" * 41]}
    assert [(one["row"], one["reason"]) for one in ingested(tmp_path, columns).rejected] == [
        (2, "not a PNG, JPEG or WebP picture"),
        (3, "its caption is null"),
        (4, "its caption is longer than 40 characters"),
    ]


def test_columns_may_be_told(tmp_path: Path) -> None:
    columns = {"image": ["not", "these"], "photo": [RED, BLUE], "words": ["one", "two"]}
    options = Options(columns=Columns(image="photo", caption="words"))
    assert ingested(tmp_path, columns, options).rows == 2
    with pytest.raises(BadArchive, match=r"^there is no column nowhere; there are image, photo, words$"):
        ingest(
            tmp_path / "a.parquet",
            tmp_path / "again",
            limits=LIMITS,
            options=Options(columns=Columns(image="nowhere")),
        )


def test_pick_a_pic_becomes_pairs(tmp_path: Path) -> None:
    """The higher label won; ties and rows without a label are neither rows nor mistakes."""
    columns = {
        "jpg_0": [RED, RED, RED, RED],
        "jpg_1": [BLUE, BLUE, BLUE, BLUE],
        "label_0": [1.0, 0.0, 0.5, 1.0],
        "label_1": [0.0, 1.0, 0.5, 0.0],
        "caption": ["one", "two", "three", "four"],
        "has_label": [True, True, True, False],
        "ranking_id": [1, 2, 3, 4],
    }
    found = ingested(tmp_path, columns, Options(tolerance=0))
    assert (found.rows, found.statistics["pairs"], found.rejected) == (2, 2, [])
    assert found.statistics["passed_over"] == {"ties": 1, "unlabelled": 1}
    rows = list(engine.rows(tmp_path / "out"))
    assert [(row.caption, row.read(), row.read_loser and row.read_loser()) for row in rows] == [
        ("one", RED, BLUE),
        ("two", BLUE, RED),
    ]


def test_a_column_that_is_told_makes_single_pictures_of_pairs(tmp_path: Path) -> None:
    columns = {
        "jpg_0": [RED],
        "jpg_1": [BLUE],
        "label_0": [0.0],
        "label_1": [1.0],
        "caption": ["one"],
    }
    options = Options(columns=Columns(image="jpg_0"))
    found = ingested(tmp_path, columns, options)
    assert found.statistics["pairs"] == 0
    assert [row.read() for row in engine.rows(tmp_path / "out")] == [RED]


def test_a_dictionary_of_one_value_costs_what_it_unpacks_to(tmp_path: Path) -> None:
    columns = {"image": [picture() + bytes(999_000)] * 10, "caption": ["one"] * 10}
    limits = replace(LIMITS, max_unpacked_bytes=4_500_000)
    parquet.write_table(pa.table(columns), tmp_path / "a.parquet", compression="zstd")
    assert (tmp_path / "a.parquet").stat().st_size < 10_000
    with pytest.raises(BadArchive, match=r"^the file unpacks to more than 4.5 MB$"):
        ingest(tmp_path / "a.parquet", tmp_path / "out", limits=limits)
    assert not (tmp_path / "out").exists()
