"""The discrete process of DDPM (arXiv 2006.11239), whose denoiser predicts the noise or a velocity."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Prediction = Literal["epsilon", "v_prediction"]


@dataclass(frozen=True)
class Discrete:
    """How much of the picture is left at each of T timesteps, and what the denoiser predicts.

    A process (see ``processes.process.Process``).
    """

    alphas_cumprod: Tensor
    """alpha_bar_t, shape (T,), float32 on the model's device."""
    prediction: Prediction

    @property
    def timesteps(self) -> int:
        """T, the number of timesteps."""
        return len(self.alphas_cumprod)

    def draw_time(self, source: torch.Generator, shape: tuple[int, ...]) -> int:  # noqa: ARG002 (alike at every size)
        """Return a timestep, uniform over 0 .. T-1."""
        return int(torch.randint(self.timesteps, (), generator=source))

    def coefficients(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return sqrt(alpha_bar_t) and sqrt(1 - alpha_bar_t), each (B, 1, 1, 1), for t of shape (B,)."""
        alpha_bar = self.alphas_cumprod[t].view(-1, 1, 1, 1)
        return alpha_bar.sqrt(), (1 - alpha_bar).sqrt()

    def add_noise(self, x_0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """Return x_t = sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) noise (arXiv 2006.11239, eq. 4).

        Args:
            x_0: clean latents, (B, C, H, W).
            noise: standard normal, (B, C, H, W).
            t: timesteps, int64 (B,).
        """
        signal, spread = self.coefficients(t)
        return signal * x_0 + spread * noise

    def target(self, x_0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """Return what the denoiser should answer for ``add_noise(x_0, noise, t)``, (B, C, H, W).

        epsilon: the noise. v_prediction: sqrt(alpha_bar_t) noise - sqrt(1 - alpha_bar_t) x_0 (arXiv
        2202.00512, app. D).
        """
        if self.prediction == "epsilon":
            return noise
        signal, spread = self.coefficients(t)
        return signal * noise - spread * x_0

    def clean(self, x_t: Tensor, answer: Tensor, t: Tensor) -> Tensor:
        """Return the x_0, (B, C, H, W), that the answer (B, C, H, W) for x_t at t (B,) points at.

        epsilon: (x_t - sqrt(1 - alpha_bar_t) answer) / sqrt(alpha_bar_t) (arXiv 2010.02502, eq. 9).
        v_prediction: sqrt(alpha_bar_t) x_t - sqrt(1 - alpha_bar_t) answer (arXiv 2202.00512, app. D).
        """
        signal, spread = self.coefficients(t)
        if self.prediction == "epsilon":
            return (x_t - spread * answer) / signal
        return signal * x_t - spread * answer

    def snr(self, t: Tensor) -> Tensor:
        """Return alpha_bar_t / (1 - alpha_bar_t), float32 (B,), for t int64 (B,)."""
        alpha_bar = self.alphas_cumprod[t]
        return alpha_bar / (1 - alpha_bar)
