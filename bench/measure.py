"""Timing two ways to do a thing side by side on a machine that is never quiet."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Comparison:
    """What ours costs against the bare thing.

    Attributes:
        ours: median seconds of one call.
        bare: median seconds of one call.
        ratio: median over the repeats of ours / bare, each pair timed one right after the other.
    """

    ours: float
    bare: float
    ratio: float


def compare(
    ours: Callable[[], object], bare: Callable[[], object], *, repeats: int, device: torch.device
) -> Comparison:
    """Time both in turn, ``repeats`` times, after one call of each that does not count.

    Who goes first alternates, so that a load that grows or falls favours neither.
    """
    assert repeats > 0, "nothing would be measured"
    seconds(ours, device)
    seconds(bare, device)
    pairs = []
    for repeat in range(repeats):
        if repeat % 2:
            second = seconds(bare, device)
            pairs.append((seconds(ours, device), second))
        else:
            first = seconds(ours, device)
            pairs.append((first, seconds(bare, device)))
    return Comparison(
        ours=statistics.median(one for one, _ in pairs),
        bare=statistics.median(other for _, other in pairs),
        ratio=statistics.median(one / other for one, other in pairs),
    )


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Return how long one call takes by the clock on the wall, the device's queue included."""
    _wait(device)
    started = time.perf_counter()
    work()
    _wait(device)
    return time.perf_counter() - started


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
