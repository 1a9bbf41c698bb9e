"""The error that every objective is made of, and the random numbers behind it.

Shapes: B samples, C channels, H x W latent pixels. How latents are noised is in ``processes``.
"""

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

from spin_engine.processes.process import Process


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

    timestep: float
    """An int where the process is discrete."""
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
    process: Process,
    dropout: float,
) -> Draw:
    """Return the draw of one visit: a pure function, so that whoever needs it makes it again.

    Args:
        seed: of the job.
        iteration: of the job.
        pair: row of the data.
        visit: which look at the pair; these four decide everything.
        shape: (C, H, W) of a latent.
        process: decides how times are spread.
        dropout: probability that the caption is replaced by the empty one.
    """
    source = generator(seed, "draw", iteration, pair, visit)
    timestep = process.draw_time(source, shape)
    dropped = float(torch.rand((), generator=source)) < dropout
    return Draw(timestep, dropped, torch.randn(shape, generator=source))
