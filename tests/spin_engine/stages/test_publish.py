"""What is published is the base's folder with other weights in it."""

import json
from pathlib import Path

import pytest
import torch

from spin_engine.families.loader import load
from tests.spin_engine.conftest import method, run


@pytest.fixture
def base(pipeline: Path, tmp_path: Path) -> Path:
    """Return a base as hubs have them: pickles, a single-file copy, and Spindle's own folder beside."""
    folder = tmp_path / "base"
    for path in pipeline.rglob("*"):
        if path.is_file():
            target = folder / path.relative_to(pipeline)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    (folder / "v1-5.safetensors").write_text("all of it")
    (folder / "vae" / "diffusion_pytorch_model.bin").write_text("a pickle")
    (folder / "spindle" / "judge").mkdir(parents=True)
    (folder / "spindle" / "judge" / "judge.safetensors").write_text("judge")
    return folder


def test_full_weights_replace_the_denoiser(base: Path, encoded: Path, rivals: Path, tmp_path: Path) -> None:
    full = method(adapter="full", rank=None)
    inputs = {"base": base, "encoded": encoded, "rivals": rivals}
    run("train", tmp_path / "train" / "out", inputs=inputs, method=full)
    weights = tmp_path / "train" / "out" / "weights"
    run("publish", tmp_path / "out", inputs={"base": base, "weights": weights}, method=full)
    model = tmp_path / "out" / "model"
    left_out = {"v1-5.safetensors", "vae/diffusion_pytorch_model.bin"}
    names = {str(path.relative_to(base)) for path in base.rglob("*") if path.is_file()}
    assert {
        str(path.relative_to(model)) for path in model.rglob("*") if path.is_file()
    } == names - left_out | {"spindle/lineage.json"}
    published, trained = load(model).denoiser, load(base, weights).denoiser
    before = load(base).denoiser.state_dict()
    for name, tensor in published.state_dict().items():
        assert torch.equal(tensor, trained.state_dict()[name])
    assert any(not torch.equal(tensor, before[name]) for name, tensor in published.state_dict().items())
    assert json.loads((weights / "weights.json").read_text())["kind"] == "full"
