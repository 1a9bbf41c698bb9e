"""ImageReward: from the published names to the same rewards, put together by hand from BLIP's parts."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertTokenizer

from spin_engine.metrics.choice import MetricChoice
from spin_engine.metrics.image_reward import image_reward
from spin_engine.metrics.pixels import to_clip_pixels
from tests.spin_engine.metrics.networks import SIDE, build_image_reward
from tests.tiny import picture

CPU = torch.device("cpu")


def test_rewards_are_those_of_the_network_that_was_saved(tmp_path: Path) -> None:
    network = build_image_reward(tmp_path / "reward")
    captions, pictures = zip(*(picture(index) for index in range(4)), strict=True)
    tokens = BertTokenizer.from_pretrained(tmp_path / "reward")(
        list(captions), padding="max_length", truncation=True, max_length=35, return_tensors="pt"
    )
    with torch.no_grad():
        patches = network.vision(to_clip_pixels(pictures, SIDE)).last_hidden_state
        read = network.text(
            tokens.input_ids, attention_mask=tokens.attention_mask, encoder_hidden_states=patches
        )
        first = network.head.layers(read.last_hidden_state[:, 0])[:, 0]
    choice = MetricChoice(name="imagereward", model=str(tmp_path / "reward"), base=str(tmp_path / "reward"))
    score = image_reward(choice, CPU)
    found = score(pictures, captions)
    assert found == pytest.approx(((first - 0.16717362830052426) / 1.0333394966054072).numpy(), abs=1e-5)
    assert found.std() > 1e-4
    assert score(pictures, captions[::-1]) != pytest.approx(found, abs=1e-6)


@pytest.mark.parametrize("change", ["drop", "add"])
def test_other_weights_are_refused(tmp_path: Path, change: str) -> None:
    build_image_reward(tmp_path / "reward")
    path = tmp_path / "reward" / "model.safetensors"
    weights = load_file(path)
    if change == "drop":
        del weights["blip.text_encoder.encoder.layer.1.crossattention.self.key.weight"]
    else:
        weights["blip.visual_encoder.head.weight"] = torch.zeros(2, 2)
    save_file(weights, path)
    with pytest.raises(ValueError, match="does not hold the weights of ImageReward"):
        image_reward(MetricChoice(name="imagereward", model=str(path.parent), base=str(path.parent)), CPU)
