"""Sizes read from headers are those of the real classes."""

import json
from math import prod
from pathlib import Path

import pytest
from diffusers import UNet2DConditionModel

from spin_engine import sizes
from spin_engine.families.loader import load
from spin_engine.sizes import PipelineSize
from spin_engine.weights import add_adapter
from tests.tiny import build_pipeline
from tests.tiny_families import PIPELINES, build


def test_a_pipelines_size_is_that_of_its_parts(tmp_path: Path) -> None:
    build_pipeline(tmp_path)
    found = sizes.of_pipeline(tmp_path)
    assert found is not None
    unet = UNet2DConditionModel.from_pretrained(tmp_path, subfolder="unet")
    assert found.parameters == sum(each.numel() for each in unet.parameters())
    assert (found.channels, found.factor, found.side, found.text) == (4, 4, 8, 16 * 16)
    beside = [path for path in tmp_path.rglob("*") if path.is_file() and "unet" not in path.parts]
    assert found.other_bytes == sum(path.stat().st_size for path in beside)
    assert PipelineSize.of_json(json.loads(json.dumps(found.as_json()))) == found


@pytest.mark.parametrize("name", PIPELINES)
def test_every_familys_size_is_that_of_the_engines(tmp_path: Path, name: str) -> None:
    build(name, tmp_path)
    found = sizes.of_pipeline(tmp_path)
    assert found is not None
    family = load(tmp_path)
    assert found.parameters == sum(each.numel() for each in family.denoiser.state_dict().values())
    assert family.resolution == found.side * found.factor
    assert family.latent_shape(32, 32) == (found.channels, 32 // found.factor, 32 // found.factor)
    encoded = {key: tuple(tensor.shape[1:]) for key, tensor in family.encode_text(["a cat"]).items()}
    assert sizes.text_shapes(tmp_path) == encoded
    assert found.text == sum(prod(shape) for shape in encoded.values())
    add_adapter(family.layout, family.denoiser, rank=3, seed=0)
    named = family.denoiser.named_parameters()
    assert 3 * found.per_rank == sum(each.numel() for key, each in named if "lora_" in key) > 0


def test_what_is_no_such_pipeline_has_no_size(tmp_path: Path) -> None:
    assert sizes.of_pipeline(tmp_path) is None
    build_pipeline(tmp_path)
    (tmp_path / "unet" / sizes.WEIGHTS).write_bytes(b"\xff" * 64)
    assert sizes.of_pipeline(tmp_path) is None
