"""Encoded data holds what the encoders say, and can be taken up half done."""

import json
from pathlib import Path

import pytest
import torch

from spin_engine import latents
from spin_engine.data import rows, to_pixels
from spin_engine.families.loader import load
from spin_engine.latents import Encoded
from spin_engine.stopping import Stop, Stopped
from tests.spin_engine.conftest import ROWS, Recorder, run
from tests.tiny import build_dataset


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_rows_are_what_the_encoders_say(pipeline: Path, dataset: Path, encoded: Path) -> None:
    found, family = Encoded(encoded), load(pipeline)
    assert (found.rows, found.shape, found.resolution) == (ROWS, (4, 8, 8), 32)
    row = list(rows(dataset))[7]
    latent = family.encode_images(to_pixels([row.picture()]))
    torch.testing.assert_close(found.latents([3, 7])[1:], latent)
    text, empty = family.encode_text([row.caption])["text"], family.encode_text([""])["text"]
    torch.testing.assert_close(found.condition([7, 7], [False, True])["text"], torch.cat([text, empty]))
    torch.testing.assert_close(found.empty(3)["text"], empty.expand(3, -1, -1))


def test_encoding_again_gives_the_same_bytes(
    pipeline: Path, dataset: Path, encoded: Path, tmp_path: Path
) -> None:
    run("encode", tmp_path, inputs={"base": pipeline, "data": dataset})
    assert contents(tmp_path) == contents(encoded)


def test_stopped_encoding_goes_on(
    pipeline: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latents, "SHARD_ROWS", 4)
    inputs = {"base": pipeline, "data": dataset}
    run("encode", tmp_path / "whole", inputs=inputs)
    stop = Stop()
    recorder = Recorder(lambda line: setattr(stop, "requested", line.get("step", 0) >= 8))
    with pytest.raises(Stopped):
        run("encode", tmp_path / "stopped", stop=stop, reporter=recorder, inputs=inputs)
    assert len(list((tmp_path / "stopped").glob("shard-*"))) == 2
    with pytest.raises(ValueError, match=r"no index\.json"):
        Encoded(tmp_path / "stopped")
    run("encode", tmp_path / "stopped", inputs=inputs)
    assert contents(tmp_path / "stopped") == contents(tmp_path / "whole")
    assert Encoded(tmp_path / "stopped").latents([11]).shape == (1, 4, 8, 8)


@pytest.mark.parametrize("aspect_buckets", [False, True])
def test_parts_mean_what_is_encoded_at_once(
    pipeline: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, aspect_buckets: bool
) -> None:
    monkeypatch.setattr(latents, "SHARD_ROWS", 4)
    asked = {
        "inputs": {"base": pipeline, "data": dataset},
        "method": {"type": "sft", "sft": {"hyperparameters": {"aspect_buckets": aspect_buckets}}},
    }
    run("encode", tmp_path / "whole", **asked)
    for shard in (1, 0):
        with pytest.raises(ValueError, match="not all its parts"):
            Encoded(tmp_path / "parts")
        run("encode", tmp_path / f"part-{shard}", shard=shard, shards=2, **asked)
        (tmp_path / "parts").mkdir(exist_ok=True)
        for path in (tmp_path / f"part-{shard}").iterdir():
            assert not (tmp_path / "parts" / path.name).exists()
            path.rename(tmp_path / "parts" / path.name)
    whole, parts = Encoded(tmp_path / "whole"), Encoded(tmp_path / "parts")
    assert parts.key == whole.key
    found, expected = contents(tmp_path / "parts"), contents(tmp_path / "whole")
    assert {name for name in found if name not in expected} == {
        "index-00000-of-00002.json",
        "index-00001-of-00002.json",
    }
    del expected["index.json"]
    assert expected.items() <= found.items()
    assert len(expected) == 4


def test_a_size_off_the_latent_grid_is_refused(pipeline: Path) -> None:
    with pytest.raises(ValueError, match="multiple of 4 pixels"):
        load(pipeline).latent_shape(30, 32)


def with_losers(folder: Path, named: int) -> None:
    """Save four rows, the first ``named`` of which have a loser: the picture of the row after."""
    build_dataset(folder, 5)
    lines = [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()][:4]
    for index, line in enumerate(lines[:named]):
        line["loser_file_name"] = f"{index + 1:05d}.png"
    (folder / "metadata.jsonl").write_text("\n".join(json.dumps(line) for line in lines))


def test_losers_are_encoded_beside_their_winners(pipeline: Path, encoded: Path, tmp_path: Path) -> None:
    with_losers(tmp_path / "data", 4)
    run("encode", tmp_path / "out", inputs={"base": pipeline, "data": tmp_path / "data"})
    found = Encoded(tmp_path / "out")
    assert found.has_losers
    assert not Encoded(encoded).has_losers
    assert found.losers([0, 2]).shape == found.latents([0, 2]).shape
    torch.testing.assert_close(found.losers([0, 1, 2]), found.latents([1, 2, 3]))


def test_losers_are_for_all_rows_or_none(pipeline: Path, tmp_path: Path) -> None:
    with_losers(tmp_path / "data", 3)
    with pytest.raises(ValueError, match="lacks a loser picture, unlike the rows before"):
        run("encode", tmp_path / "out", inputs={"base": pipeline, "data": tmp_path / "data"})
    assert not (tmp_path / "out" / "index.json").exists()


def test_a_method_that_needs_losers_refuses_data_without(
    pipeline: Path, dataset: Path, tmp_path: Path
) -> None:
    inputs = {"base": pipeline, "data": dataset}
    with pytest.raises(ValueError, match="has no worse ones"):
        run("encode", tmp_path, inputs=inputs, method={"type": "dpo"})
    assert list(tmp_path.iterdir()) == []
