"""SPIN-Diffusion (arXiv 2402.10210): tell the dataset's picture from the one the last opponent drew.

The paper's equation 4.9, in its epsilon form C.6, for one timestep, with l(z) = log(1 + exp(-z)):

    L = l( -beta_t h_t^2 [ |e - e_theta(x_t)|^2 - |e - e_k(x_t)|^2
                          - |e' - e_theta(x'_t)|^2 + |e' - e_k(x'_t)|^2 ] )

x_t is the noised dataset picture (the winner), x'_t the noised picture drawn by theta_k (the rival), and
theta_k is the reference as well. Here, as in the public Diffusion-DPO code whose betas (2000 to 5000) the
paper quotes, each squared norm is a MEAN over channels and pixels, winner and rival share t and noise, and
the weight of the bracket is beta / 2 at every t:

    logit = -0.5 beta ((m_w - m_l) - (r_w - r_l)),    L = -log sigmoid(logit)

All of it in float32: beta amplifies what the two models' errors differ by. By hand:

- theta = theta_k: m_w = r_w and m_l = r_l, so the logit is 0 and L = ln 2.
- The gradient there: dL/dm_w = 0.5 beta sigmoid(-logit) = beta / 4, and dL/dm_l = -beta / 4.
- Adding the same number to m_w and m_l, or to m_w and r_w, changes nothing.
- beta = 4, m_w = 0.5, r_w = 1.0, m_l = r_l: the logit is 1, L = log(1 + 1/e) = 0.313262.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

BUCKETS = 4


@dataclass(frozen=True)
class PairErrors:
    """Mean squared errors of B pairs, each float32 (B,)."""

    winner: Tensor
    """m_w: the policy's, on the dataset's picture."""
    rival: Tensor
    """m_l: the policy's, on the rival."""
    reference_winner: Tensor
    """r_w: the reference's, on the dataset's picture."""
    reference_rival: Tensor
    """r_l: the reference's, on the rival."""

    @property
    def margin(self) -> Tensor:
        """(r_w - m_w) - (r_l - m_l), (B,): how much more the policy gained on the winner."""
        return (self.reference_winner - self.winner) - (self.reference_rival - self.rival)


def logits(errors: PairErrors, beta: float) -> Tensor:
    """Return -0.5 beta ((m_w - m_l) - (r_w - r_l)), float32 (B,), so summed that theta_k gives exactly 0."""
    return 0.5 * beta * errors.margin


def loss(errors: PairErrors, beta: float) -> Tensor:
    """Return -log sigmoid(logit) of each pair, float32 (B,).

    Args:
        errors: of policy and reference on the same draws of timestep and noise.
        beta: weight on MEAN squared errors.
    """
    return -functional.logsigmoid(logits(errors, beta))


def readings(errors: PairErrors, timesteps: Tensor, total: int) -> dict[str, float]:
    """Return what tells whether training is healthy, over all pairs and for each quarter of the timesteps.

    Args:
        errors: of B pairs, on the CPU, without gradients.
        timesteps: int64 (B,).
        total: T, the number of timesteps.

    ``margin``: its mean. ``accuracy``: share of pairs with a positive margin; a margin of 0 counts half.
    ``winner_drift``: mean of m_w - r_w, which should not rise above 0. ``rival_drift``: mean of m_l - r_l.
    ``margin_t0`` to ``margin_t3`` and
    ``winner_drift_t0`` to
    ``winner_drift_t3``: the same by timestep, from little noise to much; left out where no pair fell.
    """
    margin, drift = errors.margin, errors.winner - errors.reference_winner
    found = {
        "margin": margin.mean(),
        "accuracy": (0.5 * (margin.sign() + 1)).mean(),
        "winner_drift": drift.mean(),
        "rival_drift": (errors.rival - errors.reference_rival).mean(),
        "winner_error": errors.winner.mean(),
    }
    bucket = timesteps * BUCKETS // total
    for index in range(BUCKETS):
        inside = bucket == index
        if bool(inside.any()):
            found[f"margin_t{index}"] = margin[inside].mean()
            found[f"winner_drift_t{index}"] = drift[inside].mean()
    return dict(zip(found, torch.stack(list(found.values())).tolist(), strict=True))
