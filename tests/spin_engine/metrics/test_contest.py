"""Win rates and the best of several, on numbers that can be counted."""

import numpy as np
import pytest

from spin_engine.metrics.contest import best_of, chosen, win_rate


def test_a_tie_counts_half() -> None:
    ours, theirs = np.array([1.0, 2.0, 3.0, 0.0]), np.array([0.0, 2.0, 4.0, -1.0])
    assert win_rate(ours, theirs, list("abcd"), seed=0).value == 0.625
    assert win_rate(theirs, ours, list("abcd"), seed=0).value == 0.375
    assert win_rate(ours, ours, list("abcd"), seed=0).value == 0.5


def test_pairs_of_one_prompt_are_resampled_together() -> None:
    """Ten prompts of twenty pairs each, decided prompt by prompt, are ten facts and not two hundred."""
    ours = np.repeat(np.arange(10) % 2, 20).astype(float)
    found = win_rate(ours, np.full(200, 0.5), [f"{row // 20}" for row in range(200)], seed=0)
    assert found.value == 0.5
    assert found.high - found.low > 0.5


def test_the_best_picture_of_each_prompt() -> None:
    criterion = np.array([[0.0, 2.0, 1.0], [5.0, 5.0, 4.0]])
    columns = best_of(criterion)
    assert columns.tolist() == [1, 0]
    assert chosen(np.array([[10.0, 11.0, 12.0], [20.0, 21.0, 22.0]]), columns).tolist() == [11.0, 20.0]


def test_refuses_pairs_that_are_none() -> None:
    with pytest.raises(ValueError, match="2 pictures against 3"):
        win_rate(np.zeros(2), np.zeros(3), list("ab"), seed=0)
