"""Improved precision and recall (arXiv 1904.06991): how far two sets of pictures overlap, from both sides."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from spin_engine.metrics.interval import Interval, interval_of_mean

NEIGHBOURS = 3
ROWS = 1024


def precision(
    drawn: NDArray[np.float64], captions: Sequence[str], real: NDArray[np.float64], *, seed: int
) -> Interval:
    """Return the share of drawn pictures inside the manifold of the real ones: are they believable?

    The manifold of a set is the union of the balls around its members that reach to their third nearest
    neighbour (Eq. 1 with k = 3). Depends on the number of pictures: compare equal numbers only.

    Args:
        drawn: [N, features], N >= 1.
        captions: [N], what each was drawn for.
        real: [M, features], M >= 4.
        seed: of the resamples, which are of ``drawn``.
    """
    return interval_of_mean(_inside(drawn, real), captions, seed=seed)


def recall(
    drawn: NDArray[np.float64], captions: Sequence[str], real: NDArray[np.float64], *, seed: int
) -> Interval:
    """Return the share of real pictures inside the manifold of the drawn ones: is anything left out?

    As ``precision`` with the sides changed. The resamples are of ``real``, one at a time: repeating drawn
    pictures would shrink their balls to nothing, so ``captions`` plays no part, and the interval does not
    cover the choice of sampling seeds.
    """
    assert len(captions) == len(drawn), "a caption a picture"
    return interval_of_mean(_inside(real, drawn), [str(row) for row in range(len(real))], seed=seed)


def _inside(points: NDArray[np.float64], manifold: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 1 or 0 for each of [N, features] points: does it lie within the manifold of [M, features]?"""
    if len(manifold) <= NEIGHBOURS:
        raise ValueError(f"precision and recall need more than {NEIGHBOURS} pictures on each side")
    if not len(points):
        raise ValueError("precision and recall need a picture on each side")
    radii = np.concatenate(
        [
            np.partition(cdist(manifold[start : start + ROWS], manifold), NEIGHBOURS, axis=1)[:, NEIGHBOURS]
            for start in range(0, len(manifold), ROWS)
        ]
    )
    inside = [
        (cdist(points[start : start + ROWS], manifold) <= radii).any(axis=1)
        for start in range(0, len(points), ROWS)
    ]
    return np.concatenate(inside).astype(np.float64)
