"""SePPO (arXiv 2410.05255): self-play against a random earlier self, whose pictures need not be worse.

The reference is drawn by lot among the last K results, draws the rivals (x_g) and is the reference of both
errors. Whether its pictures are to be pushed away or pulled closer, the winner tells (the paper's anchor):

    L = -log sigmoid(-0.5 beta ((m_w - r_w) - sgn (m_g - r_g))),    sgn = +1 if r_w > m_w else -1

A policy that is better on the winner than its reference (sgn = 1) is told apart from it as in SPIN; one that
is not better (sgn = -1) is pulled to the reference's pictures as well. The paper's checkpoints are the
results of our iterations: within one, rivals and reference stay. As for SPIN the norms are MEANS and the
weight is beta / 2. beta, steps and rates are not stated where we could read them: beta is Diffusion-DPO's for
SD 1.5, the others are ours. By hand:

- policy = reference: sgn = -1, the logit is 0, L = ln 2; dL/dm_w = beta / 4 and, pulled, dL/dm_g = +beta / 4.
- beta = 4, m_w = 0.5, r_w = 1, m_g = r_g: sgn = 1, the logit is 1, L = 0.313262, dL/dm_g = -2 sigmoid(-1).
- beta = 4, m_w = 1, r_w = 0.5, m_g = 1, r_g = 0.5: sgn = -1, the logit is -2, L = log(1 + e^2) = 2.126928.
- The safeguard tempers pushing alone: where sgn = -1 the rival's gradient is whole.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from spin_engine.hyperparameters import (
    EACH_ITERATION,
    Beta,
    Config,
    IterationPlan,
    Learning,
    RoundsHyperparameters,
    Safeguard,
    Steps,
    at,
)
from spin_engine.objectives.logistic import logistic

if TYPE_CHECKING:
    from torch import Tensor

    from spin_engine.objectives.errors import Errors


class SeppoHyperparameters(RoundsHyperparameters):
    """SePPO (arXiv 2410.05255): K is the paper's, steps and rates are ours."""

    each_iteration: ClassVar[tuple[str, ...]] = ("steps", "learning_rate", "beta")

    n_iterations: int = Field(8, ge=1, le=100, description="Rounds, each with its own reference.")
    steps: Steps | tuple[Steps, ...] = Field(100, description=f"Optimiser steps: {EACH_ITERATION}.")
    learning_rate: Learning | tuple[Learning, ...] = Field(
        1e-5, description=f"Peak learning rate: {EACH_ITERATION}."
    )
    beta: Beta | tuple[Beta, ...] = Field(
        2000.0, description=f"Weight on mean squared errors inside the sigmoid: {EACH_ITERATION}."
    )
    earlier: int = Field(
        7, ge=1, le=100, description="K: the reference is drawn by lot among so many last results."
    )
    safeguard: Safeguard = None

    def opponent(self, iteration: int, *, seed: int) -> int:
        """Return the iteration whose result draws and judges, 0 for the base; the same for the same seed."""
        candidates = range(max(0, iteration - self.earlier), iteration)
        return random.Random(f"{seed}/opponent/{iteration}").choice(candidates)

    def for_iteration(self, iteration: int) -> IterationPlan:
        """Return the plan of one iteration."""
        return IterationPlan(
            "seppo",
            at(self.steps, iteration),
            at(self.learning_rate, iteration),
            loss,
            {"beta": at(self.beta, iteration)},
            rivals="drawn",
            reference="errors",
            cached=self.reference == "cached",
            draws=self.draws,
            safeguard=self.safeguard,
            limits=self.limits,
            gated=self.gate,
        )


class SeppoBody(Config):
    """The hyperparameters of ``seppo``, in OpenAI's nesting."""

    hyperparameters: SeppoHyperparameters = SeppoHyperparameters()


class SeppoMethod(Config):
    """``{"type": "seppo", "seppo": {"hyperparameters": {...}}}``."""

    type: Literal["seppo"]
    seppo: SeppoBody = SeppoBody()

    @property
    def hyperparameters(self) -> SeppoHyperparameters:
        """What the method is run with."""
        return self.seppo.hyperparameters


def loss(errors: Errors, *, beta: float) -> Tensor:
    """Return -log sigmoid(logit) of each pair, float32 (B,).

    Args:
        errors: of policy and reference on winner and rival.
        beta: weight on MEAN squared errors.
    """
    gain = errors.reference_winner - errors.winner
    pushed = errors.pushed - errors.reference_rival
    pulled = errors.reference_rival - errors.rival
    return logistic(0.5 * beta * (gain + pushed.where(gain > 0, pulled)))
