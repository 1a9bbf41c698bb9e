"""Diffusion-DPO (arXiv 2311.12908): prefer the better of two pictures, relative to a frozen reference.

The paper's equation 14 for one timestep, in the form of its public code: each squared norm is a MEAN over
channels and pixels, winner and loser share t and noise, and the weight T omega(lambda_t) is constant:

    L = -log sigmoid(-0.5 beta ((m_w - m_l) - (r_w - r_l)))

Pairs come from the dataset; the reference is the model that the job started from. For flow models the errors
are those of the velocity. The paper prints the learning rate 2.048e-8, its code's command comes to 2.048e-5
(1e-8 scaled by a batch of 2048), which is the default here. By hand:

- policy = reference: L = ln 2, dL/dm_w = beta / 4, dL/dm_l = -beta / 4.
- beta = 8, m_w = 0.25, r_w = 0.5, m_l = 0.75, r_l = 0.5: the logit is 2, L = log(1 + e^-2) = 0.126928,
  dL/dm_w = 4 sigmoid(-2) = 0.476812.
- Only differences between policy and reference count: adding the same to m_w and r_w changes nothing.
- With the safeguard the value is the same and dL/dm_l is lam times as large.
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
from spin_engine.objectives.logistic import logistic

if TYPE_CHECKING:
    from torch import Tensor

    from spin_engine.objectives.errors import Errors


class DpoHyperparameters(ReferencedHyperparameters):
    """Diffusion-DPO (arXiv 2311.12908) on the dataset's pairs: its settings for SD 1.5."""

    steps: Steps = Field(2000, description="Optimiser steps.")
    learning_rate: Learning = Field(2.048e-5, description="Peak learning rate.")
    beta: Beta = Field(
        2000.0, description="Weight on mean squared errors inside the sigmoid; 5000 in the paper for SDXL."
    )
    safeguard: Safeguard = None

    def for_iteration(self, iteration: int) -> IterationPlan:
        """Return the plan of the only iteration, number 1."""
        assert iteration == 1, f"there is one iteration, not {iteration}"
        return IterationPlan(
            "dpo",
            self.steps,
            self.learning_rate,
            loss,
            {"beta": self.beta},
            rivals="given",
            reference="errors",
            cached=self.reference == "cached",
            draws=self.draws,
            safeguard=self.safeguard,
            limits=self.limits,
        )


class DpoBody(Config):
    """The hyperparameters of ``dpo``, in OpenAI's nesting."""

    hyperparameters: DpoHyperparameters = DpoHyperparameters()


class DpoMethod(Config):
    """``{"type": "dpo", "dpo": {"hyperparameters": {...}}}``."""

    type: Literal["dpo"]
    dpo: DpoBody = DpoBody()

    @property
    def hyperparameters(self) -> DpoHyperparameters:
        """What the method is run with."""
        return self.dpo.hyperparameters


def loss(errors: Errors, *, beta: float) -> Tensor:
    """Return -log sigmoid(0.5 beta margin) of each pair, float32 (B,).

    Args:
        errors: of policy and reference on winner and loser.
        beta: weight on MEAN squared errors.
    """
    return logistic(0.5 * beta * errors.margin)
