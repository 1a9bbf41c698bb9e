"""Data larger than the bound: few shards are open, whatever the order, and memory stays flat."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
import torch
from safetensors.torch import save

from spin_engine import latents
from spin_engine.data import rows
from spin_engine.itinerary import Itinerary
from spin_engine.latents import Encoded
from spin_engine.store import Store
from tests.spin_engine.conftest import run
from tests.spin_engine.test_data import as_tars, as_zip
from tests.tiny import build_dataset

SHARDS, ROWS = 12, 8


def large(store: Store, *, width: int) -> None:
    """Write encoded data of 12 shards of 8 rows; row r's latents are all r."""
    for shard in range(SHARDS):
        first = torch.arange(shard * ROWS, (shard + 1) * ROWS, dtype=torch.float32)
        tensors = {
            "latents": first.view(-1, 1, 1, 1).expand(-1, 4, 2, width).contiguous(),
            "text.text": first.view(-1, 1, 1).expand(-1, 2, 3).contiguous(),
        }
        store.write(latents.shard_name(shard), save(tensors))
    store.write("empty.safetensors", save({"text.text": torch.zeros(1, 2, 3)}))
    index = '{"rows": %d, "shards": %s, "resolution": 8, "shape": [4, 2, %d]}'
    store.write("index.json", (index % (SHARDS * ROWS, [ROWS] * SHARDS, width)).encode())


@pytest.fixture
def memory() -> Iterator[str]:
    """Return a URI of fsspec's store in memory, empty."""
    fs: Any = fsspec.filesystem("memory")
    fs.store.clear()
    yield "memory://bucket/encoded"
    fs.store.clear()


def walk(encoded: Encoded, window: int) -> tuple[list[float], int]:
    """Return what a whole visit reads, and the largest number of open shards on the way."""
    itinerary = Itinerary(1, 1, encoded.layout, SHARDS * ROWS // 4, 4, None, window=window)
    met, largest = [], 0
    for step in range(itinerary.steps):
        pairs = [look.pair for look in itinerary.step(step)]
        met += encoded.latents(pairs)[:, 0, 0, 0].tolist()
        assert encoded.condition(pairs, [False] * 4)["text"][:, 0, 0].tolist() == met[-4:]
        largest = max(largest, len(encoded.shards))
    return met, largest


@pytest.mark.parametrize("open_shards", [1, 3, 12])
def test_the_order_does_not_depend_on_what_is_open(memory: str, open_shards: int) -> None:
    large(Store(memory), width=2)
    encoded = Encoded(memory, open_shards=open_shards)
    met, largest = walk(encoded, window=3)
    assert sorted(met) == [float(row) for row in range(SHARDS * ROWS)]
    assert met == walk(Encoded(memory, open_shards=5), window=3)[0]
    assert largest == open_shards
    assert open_shards < 3 or encoded.shards.fetched <= 2 * SHARDS
    assert open_shards < 12 or encoded.shards.fetched == SHARDS


def test_a_folder_and_a_uri_give_the_same_rows(memory: str, tmp_path: Path) -> None:
    for place in (memory, tmp_path, f"file://{tmp_path}/again"):
        large(Store(place), width=2)
    places = (memory, tmp_path, f"file://{tmp_path}/again")
    found = [walk(Encoded(place, open_shards=3), window=3) for place in places]
    assert found[0] == found[1] == found[2]


MEASURE = """
import sys
from spin_engine.latents import Encoded
from tests.memory import peak, resident
from tests.spin_engine.test_shards import SHARDS, walk
for open_shards in (2, SHARDS):
    encoded = Encoded(sys.argv[1], open_shards=open_shards)
    encoded.latents([0]).sum()
    before = resident()
    walk(encoded, window=open_shards)
    print(peak() - before)
"""


def test_memory_stays_flat_on_data_larger_than_the_bound(tmp_path: Path) -> None:
    """Twelve shards of 8 MiB, two of them open at a time: a visit to all costs less than half of them.

    What is read is held twice for a moment, as bytes and as tensors.
    """
    large(Store(tmp_path), width=2**15)
    assert (tmp_path / "shard-00000.safetensors").stat().st_size > 8 * 2**20
    command = [sys.executable, "-c", MEASURE, f"file://{tmp_path}"]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    two_open, all_open = map(int, told.split())
    assert two_open < SHARDS // 2 * 8 * 2**20 < all_open, "the measure sees what it looks for"


def test_data_is_encoded_from_one_uri_to_another(
    pipeline: Path, dataset: Path, encoded: Path, memory: str
) -> None:
    fs: Any = fsspec.filesystem("memory")
    fs.put(str(dataset) + "/", "/bucket/data/", recursive=True)
    places = {"data": "memory://bucket/data", "encoded": memory}
    run("encode", pipeline.parent / "unused", inputs={"base": pipeline}, sources=places)
    for name in ("shard-00000.safetensors", "index.json", "empty.safetensors"):
        assert Store(memory).read(name) == (encoded / name).read_bytes()


@pytest.mark.usefixtures("memory")
def test_rows_of_tars_and_zips_behind_a_uri(tmp_path: Path) -> None:
    tars, archive = tmp_path / "tars", tmp_path / "all.zip"
    build_dataset(tmp_path / "plain", 3)
    expected = [(row.caption, row.picture().tobytes()) for row in rows(tmp_path / "plain")]
    as_tars(tars, 3)
    as_zip(archive, tmp_path / "plain")
    fs: Any = fsspec.filesystem("memory")
    fs.put(str(tars) + "/", "/bucket/tars/", recursive=True)
    fs.put(str(archive), "/bucket/all.zip")
    for place in ("memory://bucket/tars", "memory://bucket/all.zip"):
        assert [(row.caption, row.picture().tobytes()) for row in rows(place)] == expected


def test_a_protocol_whose_package_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(_uri: str) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr("spin_engine.store.url_to_fs", absent)
    with pytest.raises(ValueError, match="install s3fs"):
        Store("s3://bucket/data")
