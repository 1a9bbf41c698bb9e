"""Aspect-ratio buckets: pictures are cut to the nearest of a few sizes of about the same area.

The sizes have sides that are multiples of ``step``, the shorter from half the ``side`` up, and for each
shorter side the largest longer one whose area is at most ``side`` x ``side``. By hand: side 512, step 64
gives 256x1024, 320x768, 384x640, 448x576, 512x512, and the same turned.
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Size:
    """Height and width of a picture in pixels."""

    height: int
    width: int


def sizes(side: int, step: int) -> list[Size]:
    """Return the buckets of a resolution, in ascending order.

    Args:
        side: of the square picture of the same area, in pixels.
        step: what sides are multiples of, in pixels.

    Raises:
        ValueError: the resolution is no multiple of the step.
    """
    if side % step:
        raise ValueError(f"with buckets, resolution must be a multiple of {step}, not {side}")
    found = set()
    for shorter in range(step, side + 1, step):
        if 2 * shorter >= side:
            longer = side * side // shorter // step * step
            found |= {Size(shorter, longer), Size(longer, shorter)}
    return sorted(found)


def nearest(found: list[Size], height: int, width: int) -> Size:
    """Return the bucket whose aspect ratio is nearest to a picture's, as ratios go: 1:2 is as far as 2:1."""
    ratio = math.log(width / height)
    return min(found, key=lambda size: (abs(math.log(size.width / size.height) - ratio), size))
