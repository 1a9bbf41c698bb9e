"""What is exported is read back by plain diffusers, and draws the same pictures."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from spin_engine.stopping import Stop
from spin_engine.transfer_spec import TRANSFER
from spin_engine.transfers.run import run_transfer
from tests.spin_engine.conftest import Recorder
from tests.spin_engine.transfers.conftest import FAMILIES, RANK, Tuned, distance, picture, plain

CARD = "---\nlicense: mit\n---\n# Foxes\n"


def export(made: Tuned, out: Path, form: str, **told: Any) -> Path:
    name = told.pop("filename", "fox.safetensors" if form != "diffusers" else "fox.zip")
    spec = {"kind": "export", "format": form, "base": made.base, "weights": made.lora, "title": "fox",
            "card": CARD, "filename": name, "out": out}  # fmt: skip
    heard = Recorder()
    run_transfer(TRANSFER.validate_python(spec | told), heard, Stop())
    assert [line["type"] for line in heard.lines] == ["progress"]
    assert [path.name for path in out.iterdir()] == [name]
    return out / name


@pytest.mark.parametrize("name", FAMILIES)
def test_a_lora_is_read_back_and_draws_the_same(
    tuned: Callable[[str], Tuned], tmp_path: Path, name: str
) -> None:
    made = tuned(name)
    pipeline = plain(made.base)
    before = picture(pipeline)
    pipeline.load_lora_weights(made.lora)
    trained = picture(pipeline)
    assert distance(before, trained) > 10
    unet = hasattr(pipeline, "unet")
    for form in ("lora", "comfyui", *(["a1111"] if unet else [])):
        file = export(made, tmp_path / form, form)
        pipeline.unload_lora_weights()
        assert distance(picture(pipeline), before) == 0
        pipeline.load_lora_weights(file.parent, weight_name=file.name, adapter_name=form)
        assert distance(picture(pipeline), trained) <= 1, form
        if form != "lora" and unet:
            tensors = load_file(file)
            downs = [key for key in tensors if key.endswith(".lora_down.weight")]
            assert downs
            assert all(key.startswith("lora_unet_") for key in tensors)
            alphas = [tensors[key.replace("lora_down.weight", "alpha")] for key in downs]
            assert all(alpha.item() == RANK and alpha.dtype is torch.float32 for alpha in alphas)
            assert len(tensors) == 3 * len(downs)
    if not unet:
        with pytest.raises(ValueError, match="AUTOMATIC1111 reads no LoRA of a"):
            export(made, tmp_path / "a1111", "a1111")
        assert list((tmp_path / "a1111").iterdir()) == []


@pytest.mark.parametrize("name", ["sd-epsilon", "sd3"])
def test_a_folder_holds_the_merged_pipeline_with_its_card(
    tuned: Callable[[str], Tuned], tmp_path: Path, name: str
) -> None:
    made = tuned(name)
    shown = tmp_path / "shown"
    shown.mkdir()
    (shown / "iteration-1.png").write_bytes(b"png")
    files = [export(made, tmp_path / str(n), "diffusers", previews=shown) for n in range(2)]
    assert files[0].read_bytes() == files[1].read_bytes()
    with zipfile.ZipFile(files[0]) as archive:
        assert archive.testzip() is None
        archive.extractall(tmp_path / "folder")
    folder = tmp_path / "folder"
    assert (folder / "README.md").read_text() == CARD
    assert (folder / "previews" / "iteration-1.png").read_bytes() == b"png"
    pipeline = plain(made.base)
    pipeline.load_lora_weights(made.lora)
    assert distance(picture(plain(folder)), picture(pipeline)) <= 1


def test_what_was_trained_whole_has_no_lora(tuned: Callable[[str], Tuned], tmp_path: Path) -> None:
    made = tuned("sd-epsilon")
    for weights in (made.full, None):
        with pytest.raises(ValueError, match="the model has no LoRA: all its weights were trained"):
            export(made, tmp_path / "out", "lora", weights=weights)
    assert list((tmp_path / "out").iterdir()) == []
    file = export(made, tmp_path / "base", "diffusers", weights=None)
    with zipfile.ZipFile(file) as archive:
        assert {"README.md", "model_index.json", "unet/config.json"} <= set(archive.namelist())
