"""Bootstrap intervals."""

import numpy as np
import pytest

from spin_engine.metrics.interval import Interval, centred, interval_of_mean, resampled_counts


def test_a_constant_has_no_uncertainty() -> None:
    assert interval_of_mean(np.full(7, 0.25), seed=0) == Interval(0.25, 0.25, 0.25)


def test_agrees_with_the_normal_approximation() -> None:
    values = np.random.default_rng(0).normal(3.0, 2.0, size=400)
    found = interval_of_mean(values, seed=1)
    half = 1.96 * values.std() / 20
    assert found.value == values.mean()
    assert found.low == pytest.approx(values.mean() - half, abs=0.04)
    assert found.high == pytest.approx(values.mean() + half, abs=0.04)


def test_covers_the_truth_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    inside = 0
    for trial in range(200):
        found = interval_of_mean((generator.random(60) < 0.4).astype(float), seed=trial)
        inside += found.low <= 0.4 <= found.high
    assert 180 <= inside <= 198


def test_the_seed_decides_the_interval_and_not_the_value() -> None:
    values = np.random.default_rng(0).random(30)
    assert interval_of_mean(values, seed=3) == interval_of_mean(values, seed=3)
    assert interval_of_mean(values, seed=3) != interval_of_mean(values, seed=4)
    assert interval_of_mean(values, seed=3).value == interval_of_mean(values, seed=4).value


def test_every_resample_is_of_the_same_size() -> None:
    counts = resampled_counts(11, seed=0)
    assert counts.shape == (500, 11)
    assert (counts.sum(axis=1) == 11).all()


def test_a_biased_resample_is_moved_onto_the_value() -> None:
    assert centred(1.0, np.linspace(4.0, 6.0, 401)) == Interval(1.0, pytest.approx(0.05), pytest.approx(1.95))


def test_refuses_nothing() -> None:
    with pytest.raises(ValueError, match="nothing to average"):
        interval_of_mean(np.zeros(0), seed=0)
