"""The metrics by name, with a judge whose answers are known."""

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from spin_engine.metrics.choice import MetricChoice
from spin_engine.metrics.evaluate import Measured, Pictures, evaluate
from spin_engine.metrics.interval import Interval
from spin_engine.metrics.judge import Judge, JudgeConfig
from tests.spin_engine.metrics.networks import build_clip, build_head, build_image_reward
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


def measured(
    drawn: list[Image.Image],
    captions: list[str],
    real: list[Image.Image],
    judge: Path | None,
    *,
    seed: int = 0,
    metrics: list[Any] | None = None,
) -> dict[str, Interval]:
    """Return the values."""
    chosen = None if metrics is None else tuple(MetricChoice.model_validate(one) for one in metrics)
    return evaluate(Pictures(drawn, captions, real), judge, seed=seed, metrics=chosen).values


def test_every_metric_has_its_name(judge: Path) -> None:
    found = measured(pictures(4), ["name 0", "name 9", "name 10", "name 39"], pictures(6), judge)
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
    found = measured(pictures(3), ["a", "b", "c"], pictures(3), None)
    assert list(found) == ["histogram_distance"]
    assert found["histogram_distance"].value == 0.0
    assert evaluate(Pictures(pictures(3), ["a", "b", "c"]), None, seed=0) == Measured()


def test_captions_the_judge_does_not_know_are_left_out(judge: Path) -> None:
    found = measured(pictures(2), ["name 0", "unheard of"], [], judge)
    assert sorted(found) == ["caption_cosine", "retrieval_at_10", "style_share"]
    assert found["caption_cosine"].value == pytest.approx(1.0)
    assert sorted(measured(pictures(2), ["x", "y"], [], judge)) == ["style_share"]


def test_the_seed_does_not_change_a_value(judge: Path) -> None:
    first, second = (measured(pictures(5), list(NAMES[:5]), pictures(9), judge, seed=seed) for seed in (1, 2))
    assert {name: one.value for name, one in first.items()} == {
        name: one.value for name, one in second.items()
    }


@pytest.mark.parametrize("captions", [[], ["one"]])
def test_refuses_a_caption_too_few(captions: list[str]) -> None:
    with pytest.raises(
        ValueError, match=f"{2 * len(captions)} pictures for {len(captions)} captions|0 pictures"
    ):
        evaluate(Pictures(pictures(2 * len(captions)), captions), None, seed=0)


def test_only_what_was_chosen_is_measured_in_its_order(judge: Path, tmp_path: Path) -> None:
    build_clip(tmp_path / "clip")
    build_head(tmp_path / "head")
    build_image_reward(tmp_path / "reward")
    clip = str(tmp_path / "clip")
    metrics: list[Any] = [
        {"name": "imagereward", "model": str(tmp_path / "reward"), "base": str(tmp_path / "reward")},
        {"name": "pickscore", "model": clip, "base": clip},
        {"name": "hpsv2.0", "model": clip, "base": clip},
        {"name": "hpsv2.1", "model": clip, "base": clip},
        {"name": "aesthetic", "model": str(tmp_path / "head"), "base": clip},
        {"name": "clip_score", "model": clip},
        "fid",
        {"name": "kid", "model": clip},
        "precision",
        {"name": "recall", "model": clip},
        "histogram_distance",
        "judge",
    ]
    drawn, captions = pictures(6), list(NAMES[:6])
    chosen = tuple(MetricChoice.model_validate(one) for one in metrics)
    found = evaluate(Pictures(drawn, captions, pictures(8)), judge, seed=0, metrics=chosen)
    names = [one.name for one in chosen]
    assert list(found.values) == [
        *names[:-1], "style_share", "frechet_distance", "retrieval_at_10", "caption_cosine",
    ]  # fmt: skip
    assert list(found.scores) == names[:6]
    for name, scores in found.scores.items():
        assert scores.shape == (6,)
        assert found.values[name].value == pytest.approx(scores.mean())
    assert found.values["fid"] == found.values["frechet_distance"]
    assert found.scores["clip_score"] == pytest.approx(100 * found.scores["hpsv2.0"], abs=1e-3)


@pytest.mark.parametrize(
    ("metrics", "reason"),
    [
        (["judge"], "needs a base model that carries one"),
        (["fid"], "fid needs a model, or a base model that carries a judge"),
    ],
)
def test_a_metric_without_its_judge_is_refused(metrics: list[Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        measured(pictures(5), list("abcde"), pictures(5), None, metrics=metrics)


def test_a_distance_without_real_pictures_is_refused(judge: Path) -> None:
    with pytest.raises(ValueError, match="recall compares with real pictures"):
        measured(pictures(5), list("abcde"), [], judge, metrics=["recall"])
    with pytest.raises(ValueError, match="a picture on each side"):
        measured(pictures(5), list("abcde"), [], judge, metrics=["histogram_distance"])
