"""Frechet and colour distances, against values worked out another way."""

import numpy as np
import pytest
from PIL import Image
from scipy.linalg import sqrtm

from spin_engine.metrics import distances
from spin_engine.metrics.distances import (
    colour_histograms,
    frechet_distance,
    histogram_distance,
    kernel_distance,
)
from spin_engine.metrics.interval import resampled_counts


def names(count: int) -> list[str]:
    return [f"caption {index}" for index in range(count)]


def test_frechet_distance_is_the_formula() -> None:
    generator = np.random.default_rng(0)
    drawn = generator.normal(size=(40, 6)) @ generator.normal(size=(6, 6)) + 1
    real = generator.normal(size=(90, 6)) @ generator.normal(size=(6, 6))
    spread = np.cov(drawn, rowvar=False), np.cov(real, rowvar=False)
    expected = ((drawn.mean(0) - real.mean(0)) ** 2).sum()
    expected += np.trace(spread[0] + spread[1] - 2 * sqrtm(spread[0] @ spread[1]).real)
    found = frechet_distance(drawn, names(40), real, seed=0)
    assert found.value == pytest.approx(expected, rel=1e-6)
    assert found.low < found.value < found.high


def test_frechet_distance_of_a_moved_set_is_the_square_of_the_way() -> None:
    real = np.random.default_rng(0).normal(size=(50, 4))
    moved = frechet_distance(real + np.array([3.0, 0, 4.0, 0]), names(50), real, seed=0)
    assert moved.value == pytest.approx(25.0)
    same = frechet_distance(real, names(50), real, seed=0)
    assert same.value == pytest.approx(0.0, abs=1e-8)
    assert same.low >= 0


def test_frechet_distance_of_fewer_pictures_than_features() -> None:
    generator = np.random.default_rng(0)
    few, many = (
        frechet_distance(
            generator.normal(size=(count, 64)), names(count), generator.normal(size=(100, 64)), seed=0
        )
        for count in (8, 200)
    )
    assert 0 < many.value < few.value


def test_frechet_distance_of_a_caption_drawn_again_is_no_surer() -> None:
    """The same pictures three times over have the same distance, up to N - 1, and no narrower interval."""
    generator = np.random.default_rng(0)
    drawn, real = generator.normal(size=(40, 3)) + 1, generator.normal(size=(90, 3))
    once = frechet_distance(drawn, names(40), real, seed=0)
    thrice = frechet_distance(np.tile(drawn, (3, 1)), names(40) * 3, real, seed=0)
    sure = frechet_distance(np.tile(drawn, (3, 1)), names(120), real, seed=0)
    assert thrice.value == pytest.approx(once.value, rel=0.02)
    assert thrice.high - thrice.low == pytest.approx(once.high - once.low, rel=0.15)
    assert sure.high - sure.low < 0.7 * (once.high - once.low)


def test_frechet_distance_refuses_a_single_picture() -> None:
    with pytest.raises(ValueError, match="two pictures"):
        frechet_distance(np.zeros((1, 4)), ["a"], np.zeros((9, 4)), seed=0)


def test_frechet_distance_of_two_gaussians_has_its_closed_form() -> None:
    """|m|^2 + sum (s - t)^2 for means m apart and independent spreads s and t."""
    generator = np.random.default_rng(0)
    apart, drawn_spread, real_spread = np.array([1.0, 0, 2]), np.array([1.0, 2, 3]), np.array([2.0, 2, 1])
    drawn = generator.normal(size=(20_000, 3)) * drawn_spread + apart
    real = generator.normal(size=(20_000, 3)) * real_spread
    found = frechet_distance(drawn, ["one"] * 20_000, real, seed=0)
    assert found.value == pytest.approx(5 + (1 + 0 + 4), rel=0.05)


def test_frechet_distance_in_chunks_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    drawn, real = generator.normal(size=(20, 5)), generator.normal(size=(30, 5))
    whole = frechet_distance(drawn, names(20), real, seed=0)
    monkeypatch.setattr(distances, "LARGEST", 300)
    parts = frechet_distance(drawn, names(20), real, seed=0)
    assert (parts.value, parts.low, parts.high) == pytest.approx((whole.value, whole.low, whole.high))


def test_wide_features_are_resampled_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def counting(captions: list[str], *, seed: int, resamples: int = 500) -> np.ndarray:
        asked.append(resamples)
        return resampled_counts(captions, seed=seed, resamples=resamples)

    monkeypatch.setattr(distances, "resampled_counts", counting)
    generator = np.random.default_rng(0)
    monkeypatch.setattr(distances, "NARROW", 4)
    for features in (4, 5):
        frechet_distance(
            generator.normal(size=(4, features)), names(4), generator.normal(size=(4, features)), seed=0
        )
    assert asked == [500, 50]


def test_kernel_distance_is_the_unbiased_estimator() -> None:
    """Pairs counted one by one, from the definition."""
    generator = np.random.default_rng(0)
    drawn, real = generator.normal(size=(5, 3)), generator.normal(size=(7, 3)) + 1

    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        return float((x @ y / 3 + 1) ** 3)

    expected = sum(kernel(drawn[i], drawn[j]) for i in range(5) for j in range(5) if i != j) / 20
    expected += sum(kernel(real[i], real[j]) for i in range(7) for j in range(7) if i != j) / 42
    expected -= 2 * sum(kernel(one, other) for one in drawn for other in real) / 35
    found = kernel_distance(drawn, names(5), real, seed=0)
    assert found.value == pytest.approx(expected, rel=1e-9)
    assert found.low < found.value < found.high


def test_kernel_distance_is_zero_on_average_between_equals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distances, "LARGEST", 500)
    generator = np.random.default_rng(0)
    found = []
    for trial in range(200):
        drawn, real = generator.normal(size=(8, 4)), generator.normal(size=(9, 4))
        found.append(kernel_distance(drawn, names(8), real, seed=trial))
    values = np.array([one.value for one in found])
    assert abs(values.mean()) < 3 * values.std() / np.sqrt(200)
    assert values.min() < 0
    assert np.mean([(one.low + one.high) / 2 for one in found]) == pytest.approx(0, abs=values.std())


def test_kernel_distance_refuses_a_single_picture() -> None:
    with pytest.raises(ValueError, match="two pictures"):
        kernel_distance(np.zeros((1, 4)), ["a"], np.zeros((9, 4)), seed=0)


def test_histogram_distance() -> None:
    red, blue = (Image.new("RGB", (8, 8), colour) for colour in ("red", "blue"))
    half = Image.new("RGB", (8, 8), "red")
    half.paste(blue.crop((0, 0, 8, 4)), (0, 0))
    assert histogram_distance([red], ["a"], [red, red], seed=0).value == 0.0
    assert histogram_distance([red, red], ["a", "a"], [blue], seed=0).value == 1.0
    assert histogram_distance([half], ["a"], [red], seed=0).value == 0.5
    assert histogram_distance([red, blue], ["a", "b"], [half], seed=0).value == 0.0


def test_histogram_cells() -> None:
    picture = Image.new("RGB", (2, 1), (0, 0, 255))
    picture.putpixel((1, 0), (255, 32, 0))
    (row,) = colour_histograms([picture])
    assert row[7] == 0.5
    assert row[(7 * 8 + 1) * 8] == 0.5
    assert row.sum() == 1.0


@pytest.mark.parametrize("sides", [([], [Image.new("RGB", (1, 1))]), ([Image.new("RGB", (1, 1))], [])])
def test_histogram_distance_refuses_an_empty_side(sides: tuple[list[Image.Image], list[Image.Image]]) -> None:
    with pytest.raises(ValueError, match="a picture on each side"):
        histogram_distance(sides[0], names(len(sides[0])), sides[1], seed=0)
