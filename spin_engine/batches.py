"""From places in the itinerary to what the denoiser is fed, for policy and reference alike."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from spin_engine.diffusion import Draw, draw, mean_squared_error
from spin_engine.families.family import Condition, Family
from spin_engine.itinerary import Itinerary, Look
from spin_engine.latents import Encoded


@dataclass(frozen=True)
class Batch:
    """Noised latents of B winners, then of their B rivals if any: N = B or 2B samples on the device."""

    x_t: Tensor
    """(N, C, H, W)."""
    t: Tensor
    """(N,), int64 or float32 as the process has it; winner and rival share theirs."""
    condition: Condition
    target: Tensor
    """(N, C, H, W)."""


class Batches:
    """Makes the batches of one iteration; nothing is kept but the mapped files."""

    def __init__(self, family: Family, encoded: Encoded, itinerary: Itinerary, *, dropout: float) -> None:
        """Prepare.

        Args:
            family: decides device and forward process.
            encoded: the dataset's latents and captions.
            itinerary: decides the draws.
            dropout: share of captions replaced by the empty one.
        """
        self._family = family
        self._encoded = encoded
        self._itinerary = itinerary
        self._dropout = dropout

    def draw(self, look: Look) -> Draw:
        """Return the random numbers of one look."""
        return draw(
            self._itinerary.seed,
            self._itinerary.iteration,
            look.pair,
            look.draw,
            shape=self._encoded.shape,
            process=self._family.process,
            dropout=self._dropout,
        )

    def batch(self, looks: Sequence[Look], rivals: Tensor | None) -> Batch:
        """Return the batch of some looks.

        Args:
            looks: B of them.
            rivals: clean latents drawn by the opponent, (B, C, H, W) on the CPU; None for winners alone.
        """
        device, process = self._family.device, self._family.process
        pairs = [look.pair for look in looks]
        draws = [self.draw(look) for look in looks]
        x_0 = self._encoded.latents(pairs).to(device)
        noise = torch.stack([one.noise for one in draws]).to(device)
        t = torch.tensor([one.timestep for one in draws], device=device)
        condition = self._encoded.condition(pairs, [one.dropped for one in draws])
        condition = {name: tensor.to(device) for name, tensor in condition.items()}
        if rivals is not None:
            x_0, noise, t = torch.cat([x_0, rivals.to(device)]), torch.cat([noise, noise]), torch.cat([t, t])
            condition = {name: torch.cat([tensor, tensor]) for name, tensor in condition.items()}
        return Batch(process.add_noise(x_0, noise, t), t, condition, process.target(x_0, noise, t))


def residuals(family: Family, batch: Batch) -> Tensor:
    """Return prediction - target, float32 (N, C, H, W)."""
    return family.predict(batch.x_t, batch.t, batch.condition).float() - batch.target


def errors(family: Family, batch: Batch) -> Tensor:
    """Return the model's mean squared errors, float32 (N,)."""
    return mean_squared_error(family.predict(batch.x_t, batch.t, batch.condition), batch.target)
