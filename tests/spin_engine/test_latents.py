"""Encoded data holds what the encoders say, and can be taken up half done."""

from pathlib import Path

import pytest
import torch

from spin_engine import latents
from spin_engine.data import rows, to_pixels
from spin_engine.families.loader import load
from spin_engine.latents import Encoded
from spin_engine.stopping import Stop, Stopped
from tests.spin_engine.conftest import ROWS, Recorder, run


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
    recorder = Recorder(lambda line: setattr(stop, "requested", line["step"] >= 8))
    with pytest.raises(Stopped):
        run("encode", tmp_path / "stopped", stop=stop, reporter=recorder, inputs=inputs)
    assert len(list((tmp_path / "stopped").glob("shard-*"))) == 2
    with pytest.raises(ValueError, match=r"no index\.json"):
        Encoded(tmp_path / "stopped")
    run("encode", tmp_path / "stopped", inputs=inputs)
    assert contents(tmp_path / "stopped") == contents(tmp_path / "whole")
    assert Encoded(tmp_path / "stopped").latents([11]).shape == (1, 4, 8, 8)


def test_a_size_off_the_latent_grid_is_refused(pipeline: Path) -> None:
    with pytest.raises(ValueError, match="multiple of 4 pixels"):
        load(pipeline).latent_shape(30, 32)
