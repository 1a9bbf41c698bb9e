"""Diffusion-SDPO's safeguard (arXiv 2511.03317): the rival's gradient must not push the winner's error up.

With g_w = d m_w / d prediction_w and g_l = d m_l / d prediction_l, both (C, H, W) in the space of the model's
output, a step along g_w - lam g_l lowers the winner's error by at least mu |g_w|^2 (to first order) while

    lam = clamp((1 - mu) |g_w|^2 / <g_w, g_l>, 0, 1)  where <g_w, g_l> > 0, else 1.

g is 2 (prediction - target) / (C H W), and the factors cancel. By hand: prediction_w - target_w = (1, 1) and
prediction_l - target_l = (2, 2) have |g_w|^2 : <g_w, g_l> = 2 : 4, so mu = 0.9 gives lam = 0.05; opposite
residuals give lam = 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def rival_share(residual_winner: Tensor, residual_rival: Tensor, mu: float) -> Tensor:
    """Return lam of each pair, float32 (B,), without a gradient.

    Args:
        residual_winner: prediction - target on the winner, (B, C, H, W).
        residual_rival: prediction - target on the rival, (B, C, H, W).
        mu: share of the winner's descent that is kept, 0 .. 1.
    """
    winner, rival = residual_winner.detach().float().flatten(1), residual_rival.detach().float().flatten(1)
    squared, product = winner.square().sum(1), (winner * rival).sum(1)
    opposed = product > 0
    share = (1 - mu) * squared / product.where(opposed, 1)
    return share.clamp(0, 1).where(opposed, 1)


def temper(rival: Tensor, share: Tensor) -> Tensor:
    """Return the rival's errors (B,), value unchanged, with their gradient scaled by ``share`` (B,)."""
    return rival.detach() + share * (rival - rival.detach())
