"""Diffusion-KTO (arXiv 2404.04465): make liked pictures likelier and disliked ones less, each by itself.

The paper's equation 11 with its sigmoid utility, in the form of the public code (squared norms are MEANS):

    L = w (1 - sigmoid(y beta (g - Q))),    g = r - m,    Q = max(0, mean of g over the batch)

y = 1 for a liked picture and -1 for a disliked one; Q carries no gradient. Here each pair of the dataset
brings a liked picture and a disliked one, and its loss is the mean of both. As in the code, Q is the mean
over the forward pass at hand, here the 2B pictures of a micro-batch: other micro-batches, another Q. By hand:

- policy = reference: g = Q = 0, so L = (w_liked + w_disliked) / 4, which is 0.5 for weights of 1;
  dL/dm_w = beta w_liked / 8, dL/dm_l = -beta w_disliked / 8.
- beta = 1, one pair, g_w = 3, g_l = -1: Q = 1, so sigmoid(2) and sigmoid(2): L = 1 - 0.880797 = 0.119203.
- The same with g_w = -3, g_l = 1: the mean is -1, Q = 0: L = 1 - (sigmoid(-3) + sigmoid(-1)) / 2 = 0.841817.
- 0 < L < (w_liked + w_disliked) / 2, so one bad picture cannot run away with the step.
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
    Steps,
)

if TYPE_CHECKING:
    from torch import Tensor

    from spin_engine.objectives.errors import Errors


class KtoHyperparameters(ReferencedHyperparameters):
    """Diffusion-KTO (arXiv 2404.04465) on the dataset's pictures: its settings for SD 1.5."""

    steps: Steps = Field(20_000, description="Optimiser steps, the authors' at a batch of 8.")
    learning_rate: Learning = Field(1e-7, description="Peak learning rate.")
    beta: Beta = Field(1000.0, description="Weight on mean squared errors inside the sigmoid.")
    liked: float = Field(1.0, ge=0, le=1000, description="Weight of the dataset's pictures.")
    disliked: float = Field(1.0, ge=0, le=1000, description="Weight of the dataset's losers.")

    def for_iteration(self, iteration: int) -> IterationPlan:
        """Return the plan of the only iteration, number 1."""
        assert iteration == 1, f"there is one iteration, not {iteration}"
        return IterationPlan(
            "kto",
            self.steps,
            self.learning_rate,
            loss,
            {"beta": self.beta, "liked": self.liked, "disliked": self.disliked},
            rivals="given",
            reference="errors",
            cached=self.reference == "cached",
            draws=self.draws,
            limits=self.limits,
        )


class KtoBody(Config):
    """The hyperparameters of ``kto``, in OpenAI's nesting."""

    hyperparameters: KtoHyperparameters = KtoHyperparameters()


class KtoMethod(Config):
    """``{"type": "kto", "kto": {"hyperparameters": {...}}}``."""

    type: Literal["kto"]
    kto: KtoBody = KtoBody()

    @property
    def hyperparameters(self) -> KtoHyperparameters:
        """What the method is run with."""
        return self.kto.hyperparameters


def loss(errors: Errors, *, beta: float, liked: float = 1.0, disliked: float = 1.0) -> Tensor:
    """Return the lost utility of each pair, the mean of its two pictures', float32 (B,).

    Args:
        errors: of policy and reference on winner and loser.
        beta: weight on MEAN squared errors.
        liked: weight of the winners.
        disliked: weight of the losers.
    """
    good = errors.reference_winner - errors.winner
    bad = errors.reference_rival - errors.rival
    point = (0.5 * (good + bad)).mean().clamp(min=0).detach()
    lost = liked * (-beta * (good - point)).sigmoid() + disliked * (beta * (bad - point)).sigmoid()
    return 0.5 * lost
