"""From places in the itinerary to what the denoiser is fed, for policy and reference alike."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

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


@dataclass(frozen=True)
class States:
    """Where a sampler passed, in place of rivals that are noised afresh; both (B, C, H, W) on the CPU."""

    x_t: Tensor
    """x'_t."""
    target: Tensor
    """What the sampler's model answered there."""


class Batches:
    """Makes the batches of one iteration; nothing is kept but the mapped files."""

    def __init__(
        self,
        family: Family,
        encoded: Encoded,
        itinerary: Itinerary,
        *,
        dropout: float,
        sampler_steps: int | None = None,
    ) -> None:
        """Prepare.

        Args:
            family: decides device and forward process.
            encoded: the dataset's latents and captions.
            itinerary: decides the draws.
            dropout: share of captions replaced by the empty one.
            sampler_steps: S, if times are those at which a sampler of so many steps passes; None: all times.
        """
        self._family = family
        self._encoded = encoded
        self._itinerary = itinerary
        self._dropout = dropout
        self._sampler_steps = sampler_steps
        self._times: dict[tuple[int, int, int], list[float]] = {}

    def draw(self, look: Look) -> Draw:
        """Return the random numbers of one look; its time is one of the sampler's if they are asked for."""
        drawn = draw(
            self._itinerary.seed,
            self._itinerary.iteration,
            look.pair,
            look.draw,
            shape=self._encoded.shape_of(look.pair),
            process=self._family.process,
            dropout=self._dropout,
        )
        if self._sampler_steps is None:
            return drawn
        times = self._sampler_times(self._encoded.shape_of(look.pair))
        return replace(drawn, timestep=times[self._step_at(drawn.timestep)])

    def sampler_step(self, look: Look) -> int:
        """Return which of the sampler's steps, from 0, starts at a look's time."""
        times = self._sampler_times(self._encoded.shape_of(look.pair))
        return times.index(self.draw(look).timestep)

    def _sampler_times(self, shape: tuple[int, int, int]) -> list[float]:
        """Return where the sampler passes, from much noise to little."""
        assert self._sampler_steps is not None, "times are drawn from all"
        if shape not in self._times:
            self._times[shape] = self._family.solver(self._sampler_steps, shape).timesteps.tolist()
        return self._times[shape]

    def _step_at(self, time: float) -> int:
        """Return the step for a drawn time: floor(t S / T), counted from the last."""
        steps = self._sampler_steps
        assert steps is not None, "times are drawn from all"
        return steps - 1 - min(steps - 1, int(time * steps / self._family.process.timesteps))

    def batch(self, looks: Sequence[Look], rivals: Tensor | None, states: States | None = None) -> Batch:
        """Return the batch of some looks.

        Args:
            looks: B of them, all of one bucket.
            rivals: clean latents drawn by the opponent, (B, C, H, W) on the CPU; None for winners alone.
            states: where their sampler passed, if they are not to be noised afresh.
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
        x_t, target = process.add_noise(x_0, noise, t), process.target(x_0, noise, t)
        if states is not None:
            x_t = torch.cat([x_t[: len(looks)], states.x_t.to(device)])
            target = torch.cat([target[: len(looks)], states.target.to(device)])
        return Batch(x_t, t, condition, target)


def residuals(family: Family, batch: Batch) -> Tensor:
    """Return prediction - target, float32 (N, C, H, W)."""
    return family.predict(batch.x_t, batch.t, batch.condition).float() - batch.target


def errors(family: Family, batch: Batch) -> Tensor:
    """Return the model's mean squared errors, float32 (N,)."""
    return mean_squared_error(family.predict(batch.x_t, batch.t, batch.condition), batch.target)
