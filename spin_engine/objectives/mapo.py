"""MaPO (arXiv 2406.06424): prefer the better of two pictures without a reference.

The paper's equation 9 as its public code computes it, with m the MEAN squared error of the policy:

    L = m_w - beta log sigmoid(T (phi(m_w) - phi(m_l))),    phi(x) = k x / (exp(k x) - 1)

phi falls from 1 at x = 0 towards 0, so the sigmoid grows when the winner's error is the smaller one; T = 1000
times the margin of one timestep stands for all of them; k = 0.5 stands for the SNR. By hand:

- m_w = m_l = m: L = m + beta ln 2.
- phi(0) = 1, phi'(0) = -k / 2; phi(2) = 1 / (e - 1) = 0.581977 for k = 0.5.
- m_w = 0, m_l = 2, T = 1: phi's difference is 0.418023, L = beta log(1 + exp(-0.418023)) = 0.505821 beta.
- Gradient at m_w = m_l = 0: dL/dm_w = 1 + beta T k / 4, dL/dm_l = -beta T k / 4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from spin_engine.hyperparameters import (
    ComparedHyperparameters,
    Config,
    IterationPlan,
    Learning,
    Safeguard,
    Steps,
)
from spin_engine.objectives.logistic import logistic

if TYPE_CHECKING:
    from torch import Tensor

    from spin_engine.objectives.errors import Errors


TIMESTEPS = 1000


class MapoHyperparameters(ComparedHyperparameters):
    """MaPO (arXiv 2406.06424) on the dataset's pairs: its settings for SDXL."""

    steps: Steps = Field(2000, description="Optimiser steps.")
    learning_rate: Learning = Field(1e-5, description="Peak learning rate.")
    beta: float = Field(0.1, gt=0, le=1e6, description="Weight of the comparison beside the winner's error.")
    k: float = Field(0.5, gt=0, le=100, description="Stands for the signal-to-noise ratio inside phi.")
    safeguard: Safeguard = None

    def for_iteration(self, iteration: int) -> IterationPlan:
        """Return the plan of the only iteration, number 1."""
        assert iteration == 1, f"there is one iteration, not {iteration}"
        return IterationPlan(
            "mapo",
            self.steps,
            self.learning_rate,
            loss,
            {"beta": self.beta, "k": self.k, "timesteps": TIMESTEPS},
            rivals="given",
            safeguard=self.safeguard,
            limits=self.limits,
        )


class MapoBody(Config):
    """The hyperparameters of ``mapo``, in OpenAI's nesting."""

    hyperparameters: MapoHyperparameters = MapoHyperparameters()


class MapoMethod(Config):
    """``{"type": "mapo", "mapo": {"hyperparameters": {...}}}``."""

    type: Literal["mapo"]
    mapo: MapoBody = MapoBody()

    @property
    def hyperparameters(self) -> MapoHyperparameters:
        """What the method is run with."""
        return self.mapo.hyperparameters


def phi(x: Tensor, k: float) -> Tensor:
    """Return k x / (exp(k x) - 1), and its limit 1 at 0, of errors x >= 0 of any shape."""
    z = k * x
    near = z < 1e-4
    safe = z.where(~near, 1.0)
    return (1 - z / 2).where(near, safe / safe.expm1())


def loss(errors: Errors, *, beta: float, k: float, timesteps: float) -> Tensor:
    """Return m_w - beta log sigmoid(T (phi(m_w) - phi(m_l))) of each pair, float32 (B,).

    Args:
        errors: of the policy on winner and loser; a reference is not needed.
        beta: weight of the comparison.
        k: of phi.
        timesteps: T.
    """
    margin = phi(errors.winner, k) - phi(errors.pushed, k)
    return errors.winner + beta * logistic(timesteps * margin)
