"""How much drawing rivals costs over the U-Net's forward passes that it cannot do without."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import diffusers
import torch
from torch import Tensor

from bench.measure import Comparison, compare, seconds
from spin_engine.data import to_pixels
from spin_engine.families.family import Condition, Family
from spin_engine.sampler import initial_noise, sample

CAPTIONS = ("red apple", "grinning face", "cat", "hot beverage", "owl", "lemon", "fish", "bread")


def measure_rivals(family: Family, *, batch: int, steps: int, guidance: float, repeats: int) -> Comparison:
    """Compare drawing ``batch`` rivals, latents kept, with as many bare forward passes on the same tensors.

    Args:
        family: the model that draws.
        batch: rivals in one call.
        steps: sampler steps, one forward pass each, of 2 x ``batch`` samples when guided.
        guidance: 1: none.
        repeats: pairs of measurements.
    """
    given = _given(family, batch)
    condition, noise = given.condition, given.noise
    negative = given.negative if guidance != 1 else None
    both = {
        name: value if negative is None else torch.cat([negative[name], value])
        for name, value in condition.items()
    }
    x_t = noise.to(family.device) if negative is None else torch.cat([noise, noise]).to(family.device)
    times = torch.linspace(family.process.timesteps - 1, 0, steps).long().to(family.device)

    def ours() -> None:
        sample(family, condition, negative, noise, steps=steps, guidance=guidance)

    @torch.inference_mode()
    def bare() -> None:
        for t in times:
            family.predict(x_t, t.expand(len(x_t)), both)

    return compare(ours, bare, repeats=repeats, device=family.device)


def measure_latents(family: Family, *, batch: int, steps: int, repeats: int) -> Comparison:
    """Compare drawing rivals, latents kept, with decoding them to pictures and encoding those again."""
    given = _given(family, batch)

    def kept() -> Tensor:
        return sample(family, given.condition, None, given.noise, steps=steps, guidance=1.0)

    def decoded() -> Tensor:
        return family.encode_images(to_pixels(family.decode(kept())))

    return compare(kept, decoded, repeats=repeats, device=family.device)


@dataclass(frozen=True)
class Sampler:
    """A way to draw a rival."""

    name: str
    solver: str | None
    """A scheduler class of diffusers; None: the family's own."""
    steps: int
    guidance: float


SAMPLERS = (
    Sampler("DPM-Solver++", None, 10, 1.0),
    Sampler("DPM-Solver++", None, 20, 1.0),
    Sampler("DPM-Solver++", None, 20, 7.5),
    Sampler("DDIM", "DDIMScheduler", 50, 1.0),
    Sampler("DDIM", "DDIMScheduler", 50, 7.5),
)


class Drawer:
    """A family that draws with another solver."""

    def __init__(self, family: Family, solver: str) -> None:
        """Take the family, and the name of a scheduler class of diffusers."""
        self._family = family
        self._solver = getattr(diffusers, solver)

    def __getattr__(self, name: str) -> Any:
        """Return what the family has."""
        return getattr(self._family, name)

    def solver(self, steps: int, shape: tuple[int, int, int]) -> Any:
        """Return the other solver, for the process that the family's own is for."""
        made = self._solver.from_config(self._family.solver(steps, shape).config)
        made.set_timesteps(steps, device=self._family.device)
        return made


def measure_samplers(
    family: Family, samplers: Sequence[Sampler], *, batch: int, repeats: int
) -> dict[Sampler, float]:
    """Return rivals a second for each sampler, all timed in turn, and each first call not counted."""
    given = _given(family, batch)
    found: dict[Sampler, list[float]] = {sampler: [] for sampler in samplers}
    for _ in range(1 + repeats):
        for sampler, taken in found.items():
            drawer: Any = family if sampler.solver is None else Drawer(family, sampler.solver)
            work = partial(
                sample,
                drawer,
                given.condition,
                given.negative,
                given.noise,
                steps=sampler.steps,
                guidance=sampler.guidance,
            )
            taken.append(seconds(work, family.device))
    return {sampler: batch / statistics.median(taken[1:]) for sampler, taken in found.items()}


@dataclass(frozen=True)
class _Given:
    """What rivals are drawn from."""

    condition: Condition
    negative: Condition
    noise: Tensor


def _given(family: Family, batch: int) -> _Given:
    captions = [CAPTIONS[index % len(CAPTIONS)] for index in range(batch)]
    shape = family.latent_shape(family.resolution, family.resolution)
    return _Given(
        family.encode_text(captions), family.encode_text([""] * batch), initial_noise(range(batch), shape)
    )
