"""Agreement between voters, held against published values."""

import pytest

from core.comparisons.agreement import agreement

# Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability", D: four observers, twelve units.
PUBLISHED = (
    "1 2 3 3 2 1 4 1 2 . . .",
    "1 2 3 3 2 2 4 1 2 5 . 3",
    ". 3 3 3 2 3 4 2 2 5 1 .",
    "1 2 3 3 2 4 4 1 2 5 1 .",
)


def test_alpha_is_the_published_one_for_interval_data() -> None:
    observers = [each.split() for each in PUBLISHED]
    units = [[float(each) for each in unit if each != "."] for unit in zip(*observers, strict=True)]
    found = agreement(units)
    assert found is not None
    assert found.alpha == pytest.approx(0.849, abs=5e-4)
    assert (found.pairs, found.votes) == (11, 40)


def test_all_agree() -> None:
    found = agreement([[1.0, 1.0], [0.0, 0.0, 0.0], [0.5]])
    assert found is not None
    assert (found.pairs, found.votes, found.rate, found.alpha) == (2, 5, 1.0, 1.0)


def test_they_say_the_opposite_of_each_other() -> None:
    found = agreement([[1.0, 0.0]] * 50)
    assert found is not None
    assert (found.rate, found.alpha) == (0.0, pytest.approx(-0.98))


def test_one_answer_to_everything_says_nothing_of_chance() -> None:
    found = agreement([[1.0, 1.0], [1.0, 1.0]])
    assert found is not None
    assert (found.rate, found.alpha) == (1.0, None)


def test_nobody_was_asked_the_same() -> None:
    assert agreement([[1.0], [0.5], []]) is None
