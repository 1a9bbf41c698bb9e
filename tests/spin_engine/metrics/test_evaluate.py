"""The metrics by name, with a judge whose answers are known."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from spin_engine.metrics.evaluate import evaluate
from spin_engine.metrics.judge import Judge, JudgeConfig
from tests.tiny import picture

NAMES = tuple(f"name {index}" for index in range(40))


@pytest.fixture
def judge(tmp_path: Path) -> Path:
    """A judge that takes every picture for "flat" and puts captions in order, "name 0" closest."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = Judge(JudgeConfig(("flat", "shaded"), ("thing",), NAMES, "flat"))
    with torch.no_grad():
        made.style.weight.zero_()
        made.style.bias.copy_(torch.tensor([1.0, 0.0]))
        made.narrow[2].weight.zero_()
        made.narrow[2].bias.copy_(torch.eye(64)[0])
        made.describe.weight.copy_(torch.eye(64))
        made.captions.zero_()
        angle = torch.linspace(0, torch.pi, len(NAMES))
        made.captions[:, 0], made.captions[:, 1] = angle.cos(), angle.sin()
    made.save(tmp_path / "judge")
    return tmp_path / "judge"


def pictures(count: int) -> list[Image.Image]:
    return [picture(index)[1] for index in range(count)]


def test_every_metric_has_its_name(judge: Path) -> None:
    found = evaluate(pictures(4), ["name 0", "name 9", "name 10", "name 39"], pictures(6), judge, seed=0)
    assert list(found) == [
        "histogram_distance",
        "style_share",
        "frechet_distance",
        "retrieval_at_10",
        "caption_cosine",
    ]
    assert found["style_share"].value == 1.0
    assert found["frechet_distance"].value == pytest.approx(0.0, abs=1e-9)
    assert found["retrieval_at_10"].value == 0.5
    cosines = torch.linspace(0, torch.pi, 40).cos()[[0, 9, 10, 39]]
    assert found["caption_cosine"].value == pytest.approx(cosines.mean().item(), abs=1e-3)
    assert found["caption_cosine"].low < found["caption_cosine"].value < found["caption_cosine"].high


def test_without_a_judge_only_colours_are_measured() -> None:
    found = evaluate(pictures(3), ["a", "b", "c"], pictures(3), None, seed=0)
    assert list(found) == ["histogram_distance"]
    assert found["histogram_distance"].value == 0.0
    assert evaluate(pictures(3), ["a", "b", "c"], None, None, seed=0) == {}


def test_captions_the_judge_does_not_know_are_left_out(judge: Path) -> None:
    found = evaluate(pictures(2), ["name 0", "unheard of"], None, judge, seed=0)
    assert sorted(found) == ["caption_cosine", "retrieval_at_10", "style_share"]
    assert found["caption_cosine"].value == pytest.approx(1.0)
    assert sorted(evaluate(pictures(2), ["x", "y"], None, judge, seed=0)) == ["style_share"]


def test_the_seed_does_not_change_a_value(judge: Path) -> None:
    first, second = (evaluate(pictures(5), list(NAMES[:5]), pictures(9), judge, seed=seed) for seed in (1, 2))
    assert {name: one.value for name, one in first.items()} == {
        name: one.value for name, one in second.items()
    }


@pytest.mark.parametrize("captions", [[], ["one"]])
def test_refuses_a_caption_too_few(captions: list[str]) -> None:
    with pytest.raises(
        ValueError, match=f"{2 * len(captions)} pictures for {len(captions)} captions|0 pictures"
    ):
        evaluate(pictures(2 * len(captions)), captions, None, None, seed=0)
