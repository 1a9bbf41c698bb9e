"""Diffusion-DRO (arXiv 2510.18353): rank the experts' pictures above the policy's own, by a margin.

As the public code computes it, a hinge on mean squared errors:

    L = max(0, margin + (m_exp - r_exp) - (m_pol - r_pol))

exp: the dataset's picture, noised. pol: a state that the policy's sampler passed, to be denoised as the
policy did there (as ``states="sampler"`` of spin); t is shared. The reference is what the job started from.
The paper's replay buffer is refreshed by the policy every step; here a round's rivals are the policy's at
the start of the round, so more and shorter rounds are closer to it. All rounds' steps together are the code's
(25600 passes, 16 to a step). The code trains all weights and keeps an average of them. By hand:

- policy = reference: L = margin, dL/dm_exp = 1, dL/dm_pol = -1.
- m_exp - r_exp = -0.5, m_pol - r_pol = -0.25, margin = 0.5: L = 0.25.
- A pair ranked by more than the margin has L = 0 and no gradient: it no longer pushes.
- Errors are not weighted by anything, so the loss scales with them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from spin_engine.hyperparameters import (
    EACH_ITERATION,
    Config,
    IterationPlan,
    Learning,
    RoundsHyperparameters,
    Safeguard,
    Steps,
    at,
)

if TYPE_CHECKING:
    from torch import Tensor

    from spin_engine.objectives.errors import Errors


class DroHyperparameters(RoundsHyperparameters):
    """Diffusion-DRO (arXiv 2510.18353): the settings of its code for SD 1.5, in rounds."""

    n_iterations: int = Field(16, ge=1, le=100, description="Rounds, each with fresh rivals.")
    steps: Steps | tuple[Steps, ...] = Field(100, description=f"Optimiser steps: {EACH_ITERATION}.")
    learning_rate: Learning | tuple[Learning, ...] = Field(
        1e-4, description=f"Peak learning rate: {EACH_ITERATION}."
    )
    margin: float = Field(
        0.001, ge=0, le=100, description="By how much of mean squared error a pair is to be ranked."
    )
    safeguard: Safeguard = None

    def for_iteration(self, iteration: int) -> IterationPlan:
        """Return the plan of one iteration."""
        return IterationPlan(
            "dro",
            at(self.steps, iteration),
            at(self.learning_rate, iteration),
            loss,
            {"margin": self.margin},
            rivals="drawn",
            reference="errors",
            judge="base",
            cached=self.reference == "cached",
            sampler_steps=self.rival_steps,
            draws=self.draws,
            safeguard=self.safeguard,
            limits=self.limits,
            gated=self.gate,
        )


class DroBody(Config):
    """The hyperparameters of ``dro``, in OpenAI's nesting."""

    hyperparameters: DroHyperparameters = DroHyperparameters()


class DroMethod(Config):
    """``{"type": "dro", "dro": {"hyperparameters": {...}}}``."""

    type: Literal["dro"]
    dro: DroBody = DroBody()

    @property
    def hyperparameters(self) -> DroHyperparameters:
        """What the method is run with."""
        return self.dro.hyperparameters


def loss(errors: Errors, *, margin: float) -> Tensor:
    """Return max(0, margin - (how much more the policy gained on the expert)) of each pair, float32 (B,).

    Args:
        errors: of policy and reference on the expert's picture and the sampler's state.
        margin: in units of mean squared error.
    """
    return (margin - errors.margin).clamp(min=0)
