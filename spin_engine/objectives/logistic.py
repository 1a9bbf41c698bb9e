"""The logistic loss of a comparison. Torch-free to import."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def logistic(logit: Tensor) -> Tensor:
    """Return l(z) = -log sigmoid(z) = log(1 + exp(-z)), finite however large |z| is; any shape.

    By hand: l(0) = ln 2, l(1) = 0.313262, l(-45000) = 45000; l'(z) = -sigmoid(-z), so l'(0) = -1/2.
    """
    return (-logit).logaddexp(logit.new_zeros(()))
