"""What a metric is: a score of each picture, or a distance between two sets of them."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from spin_engine.metrics.interval import Interval

Values = NDArray[np.float64]


class Score(Protocol):
    """Says how good each picture is, for its caption; higher is better."""

    def __call__(self, pictures: Sequence[Image.Image], captions: Sequence[str]) -> Values:
        """Return [N], one number a picture, for N pictures of any size and what each was drawn for."""


class Features(Protocol):
    """Turns pictures into vectors, in which sets of pictures are compared."""

    def __call__(self, pictures: Sequence[Image.Image]) -> Values:
        """Return [N, features] of N pictures of any size."""


class Distance(Protocol):
    """Says how far drawn pictures are from real ones, as sets, or how much they overlap."""

    def __call__(self, drawn: Values, captions: Sequence[str], real: Values, *, seed: int) -> Interval:
        """Return the value with its interval.

        Args:
            drawn: [N, features].
            captions: [N], what each was drawn for.
            real: [M, features].
            seed: of the resamples; the value itself does not depend on it.
        """
