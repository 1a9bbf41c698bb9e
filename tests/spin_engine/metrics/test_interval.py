"""Bootstrap intervals."""

import numpy as np
import pytest

from spin_engine.metrics.interval import Interval, centred, interval_of_mean, resampled_counts


def names(count: int) -> list[str]:
    return [f"caption {index}" for index in range(count)]


def test_a_constant_has_no_uncertainty() -> None:
    assert interval_of_mean(np.full(7, 0.25), names(7), seed=0) == Interval(0.25, 0.25, 0.25)


def test_agrees_with_the_normal_approximation() -> None:
    values = np.random.default_rng(0).normal(3.0, 2.0, size=400)
    found = interval_of_mean(values, names(len(values)), seed=1)
    half = 1.96 * values.std() / 20
    assert found.value == values.mean()
    assert found.low == pytest.approx(values.mean() - half, abs=0.04)
    assert found.high == pytest.approx(values.mean() + half, abs=0.04)


def test_covers_the_truth_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    inside = 0
    for trial in range(200):
        found = interval_of_mean((generator.random(60) < 0.4).astype(float), names(60), seed=trial)
        inside += found.low <= 0.4 <= found.high
    assert 180 <= inside <= 198


def test_the_seed_decides_the_interval_and_not_the_value() -> None:
    values = np.random.default_rng(0).random(30)
    assert interval_of_mean(values, names(len(values)), seed=3) == interval_of_mean(
        values, names(len(values)), seed=3
    )
    assert interval_of_mean(values, names(len(values)), seed=3) != interval_of_mean(
        values, names(len(values)), seed=4
    )
    assert (
        interval_of_mean(values, names(len(values)), seed=3).value
        == interval_of_mean(values, names(len(values)), seed=4).value
    )


def test_every_resample_is_of_the_same_size() -> None:
    counts = resampled_counts(names(11), seed=0)
    assert counts.shape == (500, 11)
    assert (counts.sum(axis=1) == 11).all()


def test_captions_are_resampled_and_then_their_pictures() -> None:
    """Each caption comes out 0, 1, 2, ... times, with twice as many pictures, spread over its two."""
    counts = resampled_counts(["a", "b", "c", "a", "b", "c"], seed=0)
    captions = counts[:, :3] + counts[:, 3:]
    assert (counts.sum(axis=1) == 6).all()
    assert (captions % 2 == 0).all()
    assert captions.std(axis=0) == pytest.approx(2 * np.sqrt(3 * (1 / 3) * (2 / 3)), rel=0.1)
    twice = counts[captions[:, 0] == 2, 0]
    assert [(twice == times).mean() for times in (0, 1, 2)] == pytest.approx([0.25, 0.5, 0.25], abs=0.08)


def test_one_seed_a_caption_is_the_plain_bootstrap() -> None:
    plain = np.random.default_rng(7).multinomial(5, np.full(5, 0.2), size=500)
    assert (resampled_counts(names(5), seed=7) == plain).all()


@pytest.mark.parametrize(("between", "within"), [(1.0, 0.0), (1.0, 1.0), (0.0, 1.0)])
def test_several_seeds_a_caption_are_not_as_many_captions(between: float, within: float) -> None:
    """40 captions of 4 seeds: the truth is inside at least as often as said, wherever the variance lies."""
    generator = np.random.default_rng(0)
    captions = [name for name in names(40) for _ in range(4)]
    inside = 0
    for trial in range(100):
        values = np.repeat(generator.normal(0, between, 40), 4) + generator.normal(0, within, 160)
        found = interval_of_mean(values, captions, seed=trial)
        inside += found.low <= 0 <= found.high
    assert inside >= 91


def test_a_biased_resample_is_moved_onto_the_value() -> None:
    assert centred(1.0, np.linspace(4.0, 6.0, 401)) == Interval(1.0, pytest.approx(0.05), pytest.approx(1.95))


def test_refuses_nothing() -> None:
    with pytest.raises(ValueError, match="nothing to average"):
        interval_of_mean(np.zeros(0), [], seed=0)
