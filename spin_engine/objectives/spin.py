"""SPIN-Diffusion (arXiv 2402.10210): tell the dataset's picture from the one the last opponent drew.

The paper's equation 4.9, in its epsilon form C.6, for one timestep, with l(z) = log(1 + exp(-z)):

    L = l( -beta_t h_t^2 [ |e - e_theta(x_t)|^2 - |e - e_k(x_t)|^2
                          - |e' - e_theta(x'_t)|^2 + |e' - e_k(x'_t)|^2 ] )

x_t is the noised dataset picture (the winner), x'_t the noised picture drawn by theta_k (the rival), and
theta_k is the reference as well. Here, as in the public Diffusion-DPO code whose betas (2000 to 5000) the
paper quotes, each squared norm is a MEAN over channels and pixels, winner and rival share t and noise, and
the weight of the bracket is beta / 2 at every t:

    logit = -0.5 beta ((m_w - m_l) - (r_w - r_l)),    L = -log sigmoid(logit) + anchor m_w

``states="sampler"`` is the paper's form C.5: x'_t is a state that the sampler passed on its way to the rival,
e' is theta_k's own answer there, so r_l is exactly 0. The paper sums over the sampler's chain; we take one
of its S states a look, number floor(t S / T) counted from the picture, and noise the winner to its time.

All of it in float32: beta amplifies what the two models' errors differ by. By hand:

- theta = theta_k: m_w = r_w and m_l = r_l, so the logit is 0 and L = ln 2.
- The gradient there: dL/dm_w = 0.5 beta sigmoid(-logit) = beta / 4, and dL/dm_l = -beta / 4.
- Adding the same number to m_w and m_l, or to m_w and r_w, changes nothing.
- beta = 4, m_w = 0.5, r_w = 1.0, m_l = r_l: the logit is 1, L = log(1 + 1/e) = 0.313262.
- The same with anchor = 2: L = 0.313262 + 2 * 0.5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

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
from spin_engine.objectives import sft
from spin_engine.objectives.logistic import logistic

if TYPE_CHECKING:
    from torch import Tensor

    from spin_engine.objectives.errors import Errors


class SpinHyperparameters(RoundsHyperparameters):
    """Self-play (arXiv 2402.10210): the paper's learning rates, betas and steps by default."""

    each_iteration: ClassVar[tuple[str, ...]] = ("steps", "learning_rate", "beta")

    steps: Steps | tuple[Steps, ...] = Field(
        (50, 500, 200), description=f"Optimiser steps: {EACH_ITERATION}."
    )
    learning_rate: Learning | tuple[Learning, ...] = Field(
        (2e-5, 2e-5, 5e-8), description=f"Peak learning rate: {EACH_ITERATION}."
    )
    beta: Beta | tuple[Beta, ...] = Field(
        (2000.0, 5000.0, 5000.0),
        description=f"Weight on mean squared errors inside the sigmoid: {EACH_ITERATION}.",
    )
    sft_steps: int = Field(
        0,
        ge=0,
        le=1_000_000,
        description="Supervised steps on the same data before the first round of self-play.",
    )
    sft_learning_rate: Learning | None = Field(
        None, description="Peak learning rate of those supervised steps, 1e-5 by default."
    )
    states: Literal["noised", "sampler"] = Field(
        "noised", description="Meet a rival noised afresh (C.6), or where its sampler passed (C.5)."
    )
    safeguard: Safeguard = None
    anchor: float = Field(0.0, ge=0, description="Weight of the supervised loss added to the self-play loss.")

    @model_validator(mode="before")
    @classmethod
    def _fit_start(cls, data: Any) -> Any:
        """Give the supervised start, if there is one, its learning rate."""
        if isinstance(data, dict) and data.get("sft_steps") not in (None, 0, "auto"):
            rate = data.get("sft_learning_rate", "auto")
            return data | {"sft_learning_rate": 1e-5 if rate == "auto" else rate}
        return data

    @model_validator(mode="after")
    def _start_is_used(self) -> Self:
        if self.sft_learning_rate is not None and not self.sft_steps:
            raise ValueError(
                "sft_learning_rate has no effect while sft_steps is 0: set sft_steps, or leave it out"
            )
        return self

    @property
    def iterations(self) -> tuple[int, ...]:
        """The iterations in order; 0 is the supervised start, if there is one."""
        return tuple(range(0 if self.sft_steps else 1, self.n_iterations + 1))

    def for_iteration(self, iteration: int) -> IterationPlan:
        """Return the plan of one iteration; 0 is the supervised start."""
        if iteration == 0:
            assert self.sft_learning_rate is not None, "iteration 0 exists only with sft_steps"
            return sft.plan(self.sft_steps, self.sft_learning_rate)
        return IterationPlan(
            "spin",
            at(self.steps, iteration),
            at(self.learning_rate, iteration),
            loss,
            {"beta": at(self.beta, iteration), "anchor": self.anchor},
            rivals="drawn",
            reference="errors",
            cached=self.reference == "cached",
            sampler_steps=self.rival_steps if self.states == "sampler" else None,
            draws=self.draws,
            safeguard=self.safeguard,
            limits=self.limits,
            gated=self.gate,
        )


class SpinBody(Config):
    """The hyperparameters of ``spin``, in OpenAI's nesting."""

    hyperparameters: SpinHyperparameters = SpinHyperparameters()


class SpinMethod(Config):
    """``{"type": "spin", "spin": {"hyperparameters": {...}}}``."""

    type: Literal["spin"]
    spin: SpinBody = SpinBody()

    @property
    def hyperparameters(self) -> SpinHyperparameters:
        """What the method is run with."""
        return self.spin.hyperparameters


def logits(errors: Errors, beta: float) -> Tensor:
    """Return -0.5 beta ((m_w - m_l) - (r_w - r_l)), float32 (B,), so summed that theta_k gives exactly 0."""
    return 0.5 * beta * errors.margin


def loss(errors: Errors, *, beta: float, anchor: float = 0.0) -> Tensor:
    """Return -log sigmoid(logit) + anchor m_w of each pair, float32 (B,).

    Args:
        errors: of policy and reference on the same draws of timestep and noise.
        beta: weight on MEAN squared errors.
        anchor: weight of the supervised loss.
    """
    losses = logistic(logits(errors, beta))
    return losses + anchor * errors.winner if anchor else losses
