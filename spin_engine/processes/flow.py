"""The straight path of rectified flow (arXiv 2209.03003), whose denoiser predicts the velocity along it.

Times run from 0 (the picture) to T = 1000 (noise), and s = t / T. As in SD3 (arXiv 2403.03206, section 3.1)
training times are logit-normal, and moved towards noise as the pipeline's scheduler moves its own:

    s = sigmoid(n), n ~ N(0, 1);    s <- a s / (1 + (a - 1) s)        (eq. 23, a = "shift")
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

TIMESTEPS = 1000


@dataclass(frozen=True)
class Flow:
    """A process (see ``processes.process.Process``): x_t = (1 - s) x_0 + s noise."""

    shift: Callable[[tuple[int, ...]], float]
    """a for latents of a shape (C, H, W): 1 leaves times alone, more moves them towards noise."""

    @property
    def timesteps(self) -> int:
        """T: 1000, as denoisers of this kind are fed 1000 s."""
        return TIMESTEPS

    def draw_time(self, source: torch.Generator, shape: tuple[int, ...]) -> float:
        """Return 1000 s, 0 < s < 1, logit-normal and shifted for latents of ``shape``."""
        s = 1 / (1 + math.exp(-float(torch.randn((), generator=source))))
        a = self.shift(shape)
        return TIMESTEPS * a * s / (1 + (a - 1) * s)

    def add_noise(self, x_0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """Return x_t = (1 - s) x_0 + s noise (arXiv 2403.03206, eq. 13).

        Args:
            x_0: clean latents, (B, C, H, W).
            noise: standard normal, (B, C, H, W).
            t: 1000 s, float32 (B,).
        """
        s = (t / TIMESTEPS).view(-1, 1, 1, 1)
        return (1 - s) * x_0 + s * noise

    def target(self, x_0: Tensor, noise: Tensor, t: Tensor) -> Tensor:  # noqa: ARG002 (the velocity is the same at every time)
        """Return dx_t / ds = noise - x_0, (B, C, H, W)."""
        return noise - x_0

    def clean(self, x_t: Tensor, answer: Tensor, t: Tensor) -> Tensor:
        """Return x_0 = x_t - s answer, (B, C, H, W): back along the straight path."""
        return x_t - (t / TIMESTEPS).view(-1, 1, 1, 1) * answer

    def snr(self, t: Tensor) -> Tensor:
        """Return ((1 - s) / s)^2, float32 (B,), for t = 1000 s, float32 (B,)."""
        s = t / TIMESTEPS
        return ((1 - s) / s).square()
