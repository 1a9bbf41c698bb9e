"""The forward process and its targets: pure functions of tensors, and the random numbers they use.

Shapes: B samples, C channels, H x W latent pixels, T timesteps of the model's own noise schedule.
"""

import hashlib
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Prediction = Literal["epsilon", "v_prediction"]


@dataclass(frozen=True)
class NoiseSchedule:
    """How much of the picture is left at each timestep, and what the model predicts."""

    alphas_cumprod: Tensor
    """alpha_bar_t, shape (T,), float32 on the model's device."""
    prediction: Prediction

    @property
    def timesteps(self) -> int:
        """T, the number of timesteps."""
        return len(self.alphas_cumprod)

    def coefficients(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return sqrt(alpha_bar_t) and sqrt(1 - alpha_bar_t), each (B, 1, 1, 1), for t of shape (B,)."""
        alpha_bar = self.alphas_cumprod[t].view(-1, 1, 1, 1)
        return alpha_bar.sqrt(), (1 - alpha_bar).sqrt()


def add_noise(schedule: NoiseSchedule, x_0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """Return x_t = sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) noise (DDPM, arXiv 2006.11239, eq. 4).

    Args:
        schedule: of the model.
        x_0: clean latents, (B, C, H, W).
        noise: standard normal, (B, C, H, W).
        t: timesteps, int64 (B,).
    """
    signal, spread = schedule.coefficients(t)
    return signal * x_0 + spread * noise


def target(schedule: NoiseSchedule, x_0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """Return what the model should answer for ``add_noise(x_0, noise, t)``, (B, C, H, W).

    epsilon: the noise. v_prediction: sqrt(alpha_bar_t) noise - sqrt(1 - alpha_bar_t) x_0 (arXiv 2202.00512,
    app. D).
    """
    if schedule.prediction == "epsilon":
        return noise
    signal, spread = schedule.coefficients(t)
    return signal * noise - spread * x_0


def mean_squared_error(prediction: Tensor, target: Tensor) -> Tensor:
    """Return the mean over C, H, W of the squared difference, float32 (B,), for both of (B, C, H, W)."""
    return (prediction.float() - target.float()).square().mean(dim=(1, 2, 3))


def derive_seed(*parts: int | str) -> int:
    """Return a 63-bit seed that depends on all parts and their order, alike on every machine."""
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(*parts: int | str) -> torch.Generator:
    """Return a CPU generator seeded by ``derive_seed(*parts)``."""
    return torch.Generator().manual_seed(derive_seed(*parts))


@dataclass(frozen=True)
class Draw:
    """The random numbers of one look at one pair, the same for winner and rival, policy and reference."""

    timestep: int
    dropped: bool
    """Whether the caption is replaced by the empty one."""
    noise: Tensor
    """Standard normal, (C, H, W) float32 on the CPU."""


def draw(
    seed: int,
    iteration: int,
    pair: int,
    visit: int,
    *,
    shape: tuple[int, ...],
    timesteps: int,
    dropout: float,
) -> Draw:
    """Return the draw of one visit: a pure function, so that whoever needs it makes it again.

    Args:
        seed: of the job.
        iteration: of the job.
        pair: row of the data.
        visit: which look at the pair; these four decide everything.
        shape: (C, H, W) of a latent.
        timesteps: T; the timestep is uniform over 0 .. T-1.
        dropout: probability that the caption is replaced by the empty one.
    """
    source = generator(seed, "draw", iteration, pair, visit)
    timestep = int(torch.randint(timesteps, (), generator=source))
    dropped = float(torch.rand((), generator=source)) < dropout
    return Draw(timestep, dropped, torch.randn(shape, generator=source))
