"""Supervised fine-tuning: denoise the dataset's pictures (DDPM, arXiv 2006.11239, eq. 14).

    L = m_w,    the mean over channels and pixels of |target - prediction|^2

With min-SNR (arXiv 2303.09556, eq. 7 and app.: weight min(SNR, gamma) on the error of the predicted x_0) the
error is first made one of x_0, by a factor that follows from what the denoiser predicts:

    L = min(SNR, gamma) * factor * m_w
    factor = 1 / SNR (epsilon),  1 / (SNR + 1) (v),  s^2 = 1 / (1 + sqrt(SNR))^2 (flow, x_t = (1-s) x_0 + s n)

By hand:

- A prediction that is off by 2 everywhere has L = 4, and dL/dm_w = 1.
- gamma = 5 at SNR = 10, epsilon: weight 5/10; at SNR = 4: 1. v: 5/11 and 4/5. Flow, s = 1/3 (SNR = 4): 4/9.
- gamma no smaller than the SNR leaves epsilon's loss as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from spin_engine.hyperparameters import Config, Hyperparameters, IterationPlan, Learning, Steps

if TYPE_CHECKING:
    from torch import Tensor

    from spin_engine.objectives.errors import Errors


class SftHyperparameters(Hyperparameters):
    """Supervised fine-tuning: denoise the data. The paper's baseline settings, at our batch size."""

    steps: Steps = Field(2000, description="Optimiser steps.")
    learning_rate: Learning = Field(1e-5, description="Peak learning rate.")
    min_snr: float | None = Field(
        None, gt=0, description="gamma of min-SNR, which evens out timesteps, 5 in its paper; null: off."
    )

    def for_iteration(self, iteration: int) -> IterationPlan:
        """Return the plan of the only iteration, number 1."""
        assert iteration == 1, f"supervised fine-tuning has one iteration, not {iteration}"
        return plan(self.steps, self.learning_rate, min_snr=self.min_snr)


class SftBody(Config):
    """The hyperparameters of ``sft``, in OpenAI's nesting."""

    hyperparameters: SftHyperparameters = SftHyperparameters()


class SftMethod(Config):
    """``{"type": "sft", "sft": {"hyperparameters": {...}}}``."""

    type: Literal["sft"]
    sft: SftBody = SftBody()

    @property
    def hyperparameters(self) -> SftHyperparameters:
        """What the method is run with."""
        return self.sft.hyperparameters


def plan(steps: int, learning_rate: float, *, min_snr: float | None = None) -> IterationPlan:
    """Return the plan of supervised steps: the whole of ``sft``, or the start of another method."""
    return IterationPlan("sft", steps, learning_rate, loss, {"min_snr": min_snr})


def loss(errors: Errors, *, min_snr: float | None = None) -> Tensor:
    """Return the loss of each sample, float32 (B,).

    Args:
        errors: of B samples; rivals and a reference are not needed.
        min_snr: gamma; None: every timestep counts as its error does.
    """
    if min_snr is None:
        return errors.winner
    return errors.winner * errors.snr.clamp(max=min_snr) * errors.x_0
