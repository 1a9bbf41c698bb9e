"""What a forward process decides: how a clean latent is noised, and what the denoiser should answer.

Shapes: B samples, C channels, H x W latent pixels.
"""

from typing import Protocol

import torch
from torch import Tensor


class Process(Protocol):
    """A forward process, with pure functions of tensors."""

    @property
    def timesteps(self) -> int:
        """T: every time lies in 0 .. T, which statistics cut into buckets."""

    def draw_time(self, source: torch.Generator, shape: tuple[int, ...]) -> float:
        """Return one training time: an int where times are discrete, a float where they are not.

        Args:
            source: of the random numbers.
            shape: (C, H, W) of the latents: large pictures may be trained at noisier times.
        """

    def add_noise(self, x_0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """Return x_t (B, C, H, W).

        Args:
            x_0: clean latents, (B, C, H, W).
            noise: standard normal, (B, C, H, W).
            t: times, (B,), int64 where they are discrete and float32 where they are not.
        """

    def target(self, x_0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """Return what the denoiser should answer for ``add_noise(x_0, noise, t)``, (B, C, H, W)."""

    def clean(self, x_t: Tensor, answer: Tensor, t: Tensor) -> Tensor:
        """Return x_0 (B, C, H, W) as the denoiser's answer for ``x_t`` has it: ``target`` solved for x_0."""

    def snr(self, t: Tensor) -> Tensor:
        """Return the signal's share of x_t over the noise's, squared, float32 (B,)."""
