"""DSPO (ICLR 2025, openreview xyfb9HHvMe): match the score of the preferred pictures' distribution.

As the public code computes it for SD 1.5. With a = prediction - target and a_ref the reference's, both on the
winner and (C, H, W), and the implicit preference s = sigmoid(u), u = -0.5 beta ((m_w - m_l) - (r_w - r_l)):

    L = mean((a - kappa (a - a_ref))^2),    kappa = beta (1 - s)

a - kappa (a - a_ref) = (1 - kappa) a + kappa a_ref, so with p = mean(a a_ref) a few means are all it takes:

    L = (1 - kappa)^2 m_w + 2 kappa (1 - kappa) p + kappa^2 r_w

kappa carries a gradient, as in the code. What the code does for SDXL (it drops the denoising term, and, when
the policy is near its reference, the prediction too) has no counterpart in the paper and is not done here.
``cached`` keeps the reference's residual on the winner, a tensor of a latent's size, for every draw: online
is the default. By hand:

- policy = reference: a = a_ref, so L = m_w whatever beta is, and s = 1/2.
- beta = 1, s = 1/2 (equal margins), m_w = 4 (a = 2), r_w = 1 (a_ref = 1), p = 2: kappa = 1/2, so the
  mixture is 1.5 and L = 2.25.
- beta to 0: L = m_w, supervised fine-tuning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from spin_engine.hyperparameters import (
    Beta,
    Config,
    IterationPlan,
    Learning,
    ReferencedHyperparameters,
    Safeguard,
    Steps,
)

if TYPE_CHECKING:
    from torch import Tensor

    from spin_engine.objectives.errors import Errors


class DspoHyperparameters(ReferencedHyperparameters):
    """DSPO (ICLR 2025) on the dataset's pairs: its settings for SD 1.5."""

    steps: Steps = Field(1000, description="Optimiser steps; the authors' best lie from 500 to 1500.")
    learning_rate: Learning = Field(2.048e-5, description="Peak learning rate.")
    beta: Beta = Field(0.001, description="Weight on mean squared errors; the authors try 0.001 to 0.05.")
    reference: Literal["cached", "online"] = Field(
        "online", description="Reference computed before training, or by frozen weights during it."
    )
    safeguard: Safeguard = None

    def for_iteration(self, iteration: int) -> IterationPlan:
        """Return the plan of the only iteration, number 1."""
        assert iteration == 1, f"there is one iteration, not {iteration}"
        return IterationPlan(
            "dspo",
            self.steps,
            self.learning_rate,
            loss,
            {"beta": self.beta},
            rivals="given",
            reference="answers",
            cached=self.reference == "cached",
            draws=self.draws,
            safeguard=self.safeguard,
            limits=self.limits,
        )


class DspoBody(Config):
    """The hyperparameters of ``dspo``, in OpenAI's nesting."""

    hyperparameters: DspoHyperparameters = DspoHyperparameters()


class DspoMethod(Config):
    """``{"type": "dspo", "dspo": {"hyperparameters": {...}}}``."""

    type: Literal["dspo"]
    dspo: DspoBody = DspoBody()

    @property
    def hyperparameters(self) -> DspoHyperparameters:
        """What the method is run with."""
        return self.dspo.hyperparameters


def loss(errors: Errors, *, beta: float) -> Tensor:
    """Return the score matching loss of each pair, float32 (B,).

    Args:
        errors: of policy and reference on winner and loser, with their product on the winner.
        beta: weight on MEAN squared errors, inside the sigmoid and of the pull towards the reference.
    """
    kappa = beta * (-0.5 * beta * errors.margin).sigmoid()
    own = 1 - kappa
    mixed = 2 * kappa * own * errors.product
    return own.square() * errors.winner + mixed + kappa.square() * errors.reference_winner
