"""Two models on the same prompts: who wins, and each one's best of several pictures."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spin_engine.metrics.interval import Interval, interval_of_mean

Table = NDArray[np.float64]
"""[prompts, seeds]: a score of each picture of each prompt."""


def best_of(criterion: Table) -> NDArray[np.int64]:
    """Return the column of each prompt's best picture, [prompts]; the first of equals."""
    return criterion.argmax(axis=1)


def chosen(scores: Table, columns: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the score of one picture a prompt, [prompts]."""
    return np.take_along_axis(scores, columns[:, None], axis=1)[:, 0]


def win_rate(
    ours: NDArray[np.float64], theirs: NDArray[np.float64], captions: Sequence[str], *, seed: int
) -> Interval:
    """Return the share of pairs that ``ours`` wins, a tie counting half.

    Args:
        ours: [N], a score of each of our pictures.
        theirs: [N], of the opponent's picture of the same prompt and seed, or of its best one.
        captions: [N], what each pair was drawn for.
        seed: of the resamples.
    """
    if len(ours) != len(theirs):
        raise ValueError(f"{len(ours)} pictures against {len(theirs)}")
    return interval_of_mean((ours > theirs) + 0.5 * (ours == theirs), captions, seed=seed)
