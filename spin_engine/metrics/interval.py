"""A measured value with the uncertainty that comes from having looked at so few pictures."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 500
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A value with the 95% bootstrap interval over pictures.

    The interval covers the choice of captions and sampling seeds, not the randomness of training: two
    trainings can differ by more than it says.
    """

    value: float
    low: float
    high: float


def resampled_counts(count: int, *, seed: int, resamples: int = RESAMPLES) -> NDArray[np.float64]:
    """Return how often each of ``count`` pictures is in each resample: [resamples, count], rows sum to it."""
    generator = np.random.default_rng(seed)
    return generator.multinomial(count, np.full(count, 1 / count), size=resamples).astype(np.float64)


def centred(value: float, resampled: NDArray[np.float64]) -> Interval:
    """Return the interval of a distance from its resamples, moved so that their mean lies on the value.

    A resample repeats pictures, so a distance between distributions comes out larger in every resample
    than in the sample itself; without the move its interval need not hold the value.

    Args:
        value: the statistic of the sample, >= 0.
        resampled: [resamples], the statistic of each resample.
    """
    return _interval(value, (resampled - resampled.mean() + value).clip(min=0))


def interval_of_mean(values: NDArray[np.float64], *, seed: int) -> Interval:
    """Return the mean of one value a picture, with its bootstrap interval. ``values`` is [N], N >= 1."""
    if not len(values):
        raise ValueError("there is nothing to average")
    return _interval(float(values.mean()), resampled_counts(len(values), seed=seed) @ values / len(values))


def _interval(value: float, resampled: NDArray[np.float64]) -> Interval:
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return Interval(value, min(float(low), value), max(float(high), value))
