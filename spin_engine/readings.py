"""Whether training is healthy: a step's numbers by name, over all its pairs and by time. Pure functions."""

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor

BUCKETS = 4
Name = Literal["margin", "accuracy", "winner_drift", "rival_drift", "winner_error"]
COMPARED: tuple[Name, ...] = ("margin", "winner_drift")
"""What is told by time where winners are compared with rivals."""


def readings(noted: Tensor, total: int) -> dict[str, float]:
    """Return what tells whether training is healthy, over all pairs and for each quarter of the times.

    Args:
        noted: loss, t, m_w, m_l, r_w, r_l of B looks, float32 (B, 6) on the CPU; what a method does not have
            is NaN.
        total: T, the number of timesteps.

    ``winner_error``: mean of m_w. Where there are rivals, ``margin``: mean of (r_w - m_w) - (r_l - m_l), or
    of m_l - m_w without a reference, and ``accuracy``: share of pairs with a positive margin; one of 0 counts
    half. Where there is a reference, ``winner_drift``: mean of m_w - r_w, which should not rise above 0, and
    ``rival_drift``: mean of m_l - r_l. ``margin_t0`` to ``margin_t3``, ``winner_drift_t0`` to
    ``winner_drift_t3``, and without rivals ``winner_error_t0`` to ``winner_error_t3``: the same by time, from
    little noise to much; left out where no pair fell.
    """
    each = dict(_each(noted))
    found: dict[str, Tensor] = {name: values.mean() for name, values in each.items()}
    compared: list[Name] = [name for name in COMPARED if name in each]
    timed = compared or ["winner_error"]
    bucket = (noted[:, 1] * BUCKETS / total).long().clamp(0, BUCKETS - 1)
    for index in range(BUCKETS):
        inside = bucket == index
        if bool(inside.any()):
            found |= {f"{name}_t{index}": each[name][inside].mean() for name in timed}
    return dict(zip(found, torch.stack(list(found.values())).tolist(), strict=True))


def _each(noted: Tensor) -> Iterator[tuple[Name, Tensor]]:
    """Yield the names that the method has, each with its value of every pair, (B,)."""
    winner, rival, reference_winner, reference_rival = noted[:, 2:].unbind(dim=1)
    compared, referenced = not bool(rival.isnan().any()), not bool(reference_winner.isnan().any())
    if compared:
        margin = rival - winner
        if referenced:
            margin = (reference_winner - winner) - (reference_rival - rival)
        yield "margin", margin
        yield "accuracy", 0.5 * (margin.sign() + 1)
    if referenced:
        yield "winner_drift", winner - reference_winner
        yield "rival_drift", rival - reference_rival
    yield "winner_error", winner
