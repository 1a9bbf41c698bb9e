"""The family says what the diffusers pipeline says."""

import json
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline

from spin_engine.families.loader import load
from tests.tiny import picture


def test_text_is_encoded_as_the_pipeline_does(pipeline: Path) -> None:
    plain = StableDiffusionPipeline.from_pretrained(pipeline, safety_checker=None, use_safetensors=True)
    text, empty = plain.encode_prompt(["red circle"], "cpu", 1, do_classifier_free_guidance=True)
    found = load(pipeline).encode_text(["red circle", ""])["text"]
    torch.testing.assert_close(found, torch.cat([text, empty]))


def test_long_captions_are_cut(pipeline: Path) -> None:
    family = load(pipeline)
    long = family.encode_text(["abcdefghijklmnopqrstuvwxyz"])["text"]
    assert torch.equal(long, family.encode_text(["abcdefghijklmnopqrs"])["text"])


@pytest.mark.parametrize("prediction", ["v_prediction", "epsilon"])
def test_prediction_type_is_the_schedulers(prediction: str, pipeline: Path, epsilon_pipeline: Path) -> None:
    family = load(pipeline if prediction == "v_prediction" else epsilon_pipeline)
    assert family.process.prediction == prediction
    assert family.process.timesteps == 1000
    assert (family.resolution, family.latent_shape(32, 64)) == (32, (4, 8, 16))


def test_decoded_pictures_have_the_right_size(pipeline: Path) -> None:
    (drawn,) = load(pipeline).decode(torch.zeros(1, 4, 8, 16))
    assert (drawn.size, drawn.mode) == ((64, 32), "RGB")
    assert drawn.size != picture(0)[1].size


def test_other_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no model_index\.json"):
        load(tmp_path)
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "KandinskyPipeline"}))
    with pytest.raises(ValueError, match="KandinskyPipeline; supported: StableDiffusionPipeline, "):
        load(tmp_path)


def test_a_prediction_nobody_trains_is_refused(pipeline: Path, tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text((pipeline / "model_index.json").read_text())
    (tmp_path / "scheduler").mkdir()
    config = json.loads((pipeline / "scheduler" / "scheduler_config.json").read_text())
    config["prediction_type"] = "sample"
    (tmp_path / "scheduler" / "scheduler_config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="predicts 'sample'"):
        _ = load(tmp_path).process
