"""Precision and recall on sets whose overlap is known."""

import numpy as np
import pytest

from spin_engine.metrics import overlap
from spin_engine.metrics.overlap import precision, recall


def names(count: int) -> list[str]:
    return [f"caption {index}" for index in range(count)]


def test_identical_sets_overlap_wholly() -> None:
    same = np.random.default_rng(0).normal(size=(20, 5))
    for found in (precision(same, names(20), same, seed=0), recall(same, names(20), same, seed=0)):
        assert (found.value, found.low, found.high) == (1.0, 1.0, 1.0)


def test_sets_far_apart_do_not_overlap() -> None:
    real = np.random.default_rng(0).normal(size=(20, 5))
    assert precision(real + 100, names(20), real, seed=0).value == 0.0
    assert recall(real + 100, names(20), real, seed=0).value == 0.0


def test_balls_reach_to_the_third_neighbour() -> None:
    """Real pictures at 0, 1, 2, 3: balls of 3, 2, 2, 3 around them reach from -3 to 6."""
    real = np.arange(4.0)[:, None]
    drawn = np.array([[-3.0], [-3.1], [6.0], [6.1], [1.5]])
    assert precision(drawn, names(5), real, seed=0).value == 0.6


def test_one_mode_of_two_is_precise_and_forgets_half(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlap, "ROWS", 7)
    generator = np.random.default_rng(0)
    near, far = generator.normal(size=(30, 2)), generator.normal(size=(30, 2)) + 50
    drawn, real = near[:15].repeat(2, axis=0) + 0.01 * generator.normal(size=(30, 2)), np.vstack([near, far])
    assert precision(drawn, names(30), real, seed=0).value == 1.0
    found = recall(drawn, names(30), real, seed=0)
    assert 0.2 < found.value <= 0.5
    assert found.low < found.value < found.high


@pytest.mark.parametrize("metric", [precision, recall])
def test_three_neighbours_need_four_pictures(metric: object) -> None:
    assert callable(metric)
    with pytest.raises(ValueError, match="more than 3 pictures"):
        metric(np.zeros((3, 2)), names(3), np.zeros((3, 2)), seed=0)
