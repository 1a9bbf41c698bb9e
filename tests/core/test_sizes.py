"""Sizes read from headers are those of the real classes."""

import json
from pathlib import Path

import pytest
from diffusers import UNet2DConditionModel

from core import sizes
from core.sizes import PipelineSize
from spin_engine.weights import LORA_TARGETS, add_adapter
from tests.tiny import build_pipeline


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


@pytest.mark.parametrize("rank", [1, 4])
def test_an_adapters_size_is_that_of_the_engines(tmp_path: Path, rank: int) -> None:
    build_pipeline(tmp_path)
    found = sizes.of_pipeline(tmp_path)
    assert found is not None
    unet = UNet2DConditionModel.from_pretrained(tmp_path, subfolder="unet")
    add_adapter(unet, rank=rank, seed=0)
    adapter = sum(each.numel() for name, each in unet.named_parameters() if "lora_" in name)
    assert rank * found.per_rank == adapter > 0
    assert tuple(f".{target}.weight" for target in LORA_TARGETS) == sizes.ADAPTED


def test_what_is_no_such_pipeline_has_no_size(tmp_path: Path) -> None:
    assert sizes.of_pipeline(tmp_path) is None
    build_pipeline(tmp_path)
    (tmp_path / "unet" / sizes.WEIGHTS).write_bytes(b"\xff" * 64)
    assert sizes.of_pipeline(tmp_path) is None
