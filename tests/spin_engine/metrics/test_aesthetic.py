"""The aesthetic head: linear layers on CLIP's normalised vector, worked out by hand."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional

from spin_engine.metrics.aesthetic import aesthetic
from spin_engine.metrics.choice import MetricChoice
from spin_engine.metrics.pixels import to_clip_pixels
from tests.spin_engine.metrics.networks import SIDE, build_clip, build_head
from tests.tiny import picture

CPU = torch.device("cpu")


def test_the_score_is_the_product_of_the_layers(tmp_path: Path) -> None:
    model, head = build_clip(tmp_path / "clip"), build_head(tmp_path / "head")
    pictures = [picture(index)[1] for index in range(3)]
    choice = MetricChoice(name="aesthetic", model=str(tmp_path / "head"), base=str(tmp_path / "clip"))
    found = aesthetic(choice, CPU)(pictures, ["a", "b", "c"])
    with torch.no_grad():
        seen = model.visual_projection(model.vision_model(to_clip_pixels(pictures, SIDE)).pooler_output)
        value = functional.normalize(seen)
        for number in (0, 2, 4, 6, 7):
            layer = head.layers[number]
            value = value @ layer.weight.T + layer.bias
    assert found == pytest.approx(value[:, 0].numpy(), abs=1e-6)
    assert [tuple(head.layers[number].weight.shape) for number in (0, 2, 4, 6, 7)] == [
        (1024, 12),
        (128, 1024),
        (64, 128),
        (16, 64),
        (1, 16),
    ]


def test_a_head_for_another_network_is_refused(tmp_path: Path) -> None:
    build_clip(tmp_path / "clip")
    build_head(tmp_path / "head", features=13)
    with pytest.raises(ValueError, match="a head for another CLIP"):
        aesthetic(
            MetricChoice(name="aesthetic", model=str(tmp_path / "head"), base=str(tmp_path / "clip")), CPU
        )


def test_what_is_no_head_is_refused(tmp_path: Path) -> None:
    build_clip(tmp_path / "clip")
    with pytest.raises(ValueError, match=r"it has no layers\.0\.weight"):
        aesthetic(MetricChoice(name="aesthetic", model=str(tmp_path / "clip")), CPU)
