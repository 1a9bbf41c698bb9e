"""What every objective is made of: mean squared errors of B pairs, each float32 (B,). Torch-free."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spin_engine.objectives.safeguard import temper

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Errors:
    """Errors of policy and reference on the same draws of time and noise; means over C, H and W.

    What the method did not ask for is NaN, so that a loss that reads it anyway is not finite.
    """

    winner: Tensor
    """m_w: the policy's, on the dataset's picture."""
    rival: Tensor
    """m_l: the policy's, on the rival or loser."""
    reference_winner: Tensor
    """r_w: the reference's, on the dataset's picture."""
    reference_rival: Tensor
    """r_l: the reference's, on the rival or loser."""
    product: Tensor
    """Mean of (answer - target) times the reference's (answer - target), on the dataset's picture."""
    snr: Tensor
    """Signal over noise at the draw's time, squared."""
    x_0: Tensor
    """What m_w is to be multiplied with to become the error of the predicted clean picture."""
    share: Tensor
    """lam of the safeguard, 0 .. 1: how much of the rival's gradient is kept; 1 without it."""

    @property
    def pushed(self) -> Tensor:
        """m_l for a loss that pushes it up: its gradient is tempered by the safeguard."""
        return temper(self.rival, self.share)

    @property
    def margin(self) -> Tensor:
        """(r_w - m_w) - (r_l - m_l), (B,): how much more the policy gained on the winner.

        So summed that a policy that is the reference has exactly 0.
        """
        return (self.reference_winner - self.winner) - (self.reference_rival - self.pushed)


def errors_of(winner: Tensor, **known: Tensor) -> Errors:
    """Return errors of which only m_w and the named ones are known.

    Args:
        winner: m_w, (B,).
        known: other fields by name, each (B,).
    """
    unknown = winner.new_full(winner.shape, math.nan).detach()
    rest = ("rival", "reference_winner", "reference_rival", "product", "snr", "x_0")
    fields = dict.fromkeys(rest, unknown) | {"share": winner.new_ones(winner.shape)}
    return Errors(winner, **(fields | known))
