"""Frechet and colour distances, against values worked out another way."""

import numpy as np
import pytest
from PIL import Image
from scipy.linalg import sqrtm

from spin_engine.metrics.distances import colour_histograms, frechet_distance, histogram_distance


def test_frechet_distance_is_the_formula() -> None:
    generator = np.random.default_rng(0)
    drawn = generator.normal(size=(40, 6)) @ generator.normal(size=(6, 6)) + 1
    real = generator.normal(size=(90, 6)) @ generator.normal(size=(6, 6))
    spread = np.cov(drawn, rowvar=False), np.cov(real, rowvar=False)
    expected = ((drawn.mean(0) - real.mean(0)) ** 2).sum()
    expected += np.trace(spread[0] + spread[1] - 2 * sqrtm(spread[0] @ spread[1]).real)
    found = frechet_distance(drawn, real, seed=0)
    assert found.value == pytest.approx(expected, rel=1e-6)
    assert found.low < found.value < found.high


def test_frechet_distance_of_a_moved_set_is_the_square_of_the_way() -> None:
    real = np.random.default_rng(0).normal(size=(50, 4))
    assert frechet_distance(real + np.array([3.0, 0, 4.0, 0]), real, seed=0).value == pytest.approx(25.0)
    same = frechet_distance(real, real, seed=0)
    assert same.value == pytest.approx(0.0, abs=1e-8)
    assert same.low >= 0


def test_frechet_distance_of_fewer_pictures_than_features() -> None:
    generator = np.random.default_rng(0)
    few = frechet_distance(generator.normal(size=(8, 64)), generator.normal(size=(100, 64)), seed=0)
    many = frechet_distance(generator.normal(size=(200, 64)), generator.normal(size=(100, 64)), seed=0)
    assert 0 < many.value < few.value


def test_frechet_distance_refuses_a_single_picture() -> None:
    with pytest.raises(ValueError, match="two pictures"):
        frechet_distance(np.zeros((1, 4)), np.zeros((9, 4)), seed=0)


def test_histogram_distance() -> None:
    red, blue = (Image.new("RGB", (8, 8), colour) for colour in ("red", "blue"))
    half = Image.new("RGB", (8, 8), "red")
    half.paste(blue.crop((0, 0, 8, 4)), (0, 0))
    assert histogram_distance([red], [red, red], seed=0).value == 0.0
    assert histogram_distance([red, red], [blue], seed=0).value == 1.0
    assert histogram_distance([half], [red], seed=0).value == 0.5
    assert histogram_distance([red, blue], [half], seed=0).value == 0.0


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
        histogram_distance(*sides, seed=0)
