"""A measured value with the uncertainty that comes from having looked at so few pictures."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 500
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A value with the 95% bootstrap interval over captions and sampling seeds.

    It does not cover the randomness of training: two trainings can differ by more than it says.
    """

    value: float
    low: float
    high: float


def resampled_counts(
    captions: Sequence[str], *, seed: int, resamples: int = RESAMPLES
) -> NDArray[np.float64]:
    """Return how often each picture is in each resample of a two-stage cluster bootstrap.

    Pictures of one caption are alike, so captions are resampled first; then, within each caption that came
    out, its pictures. The second stage counts the seeds' share of the variance up to twice (1 + (S - 1) / S
    times for S seeds a caption; Davison and Hinkley 1997, section 3.8), so intervals err on the wide side,
    and one caption of many seeds still has one.

    Args:
        captions: [N], what each picture was drawn for, in any order.
        seed: of the resamples.
        resamples: R, how many.

    Returns:
        [R, N]; a row sums to N where every caption has as many pictures, else to about N.
    """
    generator = np.random.default_rng(seed)
    rows: dict[str, list[int]] = {}
    for row, caption in enumerate(captions):
        rows.setdefault(caption, []).append(row)
    chosen = generator.multinomial(len(rows), np.full(len(rows), 1 / len(rows)), size=resamples)
    counts = np.empty((resamples, len(captions)))
    for column, own in enumerate(rows.values()):
        drawn = chosen[:, column] * len(own)
        counts[:, own] = generator.multinomial(drawn, np.full(len(own), 1 / len(own)))
    return counts


def centred(value: float, resampled: NDArray[np.float64]) -> Interval:
    """Return the interval of a distance from its resamples, moved so that their mean lies on the value.

    A resample repeats pictures, so a distance between distributions comes out larger in every resample
    than in the sample itself; without the move its interval need not hold the value.

    Args:
        value: the statistic of the sample, >= 0.
        resampled: [resamples], the statistic of each resample.
    """
    return interval(value, (resampled - resampled.mean() + value).clip(min=0))


def interval_of_mean(values: NDArray[np.float64], captions: Sequence[str], *, seed: int) -> Interval:
    """Return the mean of one value a picture, with its bootstrap interval.

    Args:
        values: [N], N >= 1.
        captions: [N], what each picture was drawn for.
        seed: of the resamples.
    """
    if not len(values):
        raise ValueError("there is nothing to average")
    counts = resampled_counts(captions, seed=seed)
    return interval(float(values.mean()), counts @ values / counts.sum(axis=1))


def interval(value: float, resampled: NDArray[np.float64]) -> Interval:
    """Return the value with the middle 95% of its resamples [R], which is made to hold it."""
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return Interval(value, min(float(low), value), max(float(high), value))
