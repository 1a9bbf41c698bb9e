"""Which pair is looked at when: pure functions, so that ``generate`` knows what ``train`` will use.

An iteration sees S steps of B captions each. The sequence runs through all N pairs in a shuffled order, then
through them again in another: position p looks for the (p // N)-th time at its pair. Visit v uses draw v, or
v modulo ``draws``.
"""

from dataclasses import dataclass
from functools import lru_cache

import torch

from spin_engine.config import SftHyperparameters, SpinHyperparameters
from spin_engine.diffusion import generator


@dataclass(frozen=True)
class Look:
    """One place in the sequence: which pair, and which of its draws of timestep and noise."""

    pair: int
    draw: int


@lru_cache(maxsize=4)
def _order(seed: int, iteration: int, visit: int, pairs: int) -> tuple[int, ...]:
    source = generator(seed, "order", iteration, visit)
    return tuple(torch.randperm(pairs, generator=source).tolist())


@dataclass(frozen=True)
class Itinerary:
    """The planned looks of one iteration."""

    seed: int
    iteration: int
    pairs: int
    """N, the rows of the data."""
    steps: int
    batch_size: int
    draws: int | None
    """Distinct draws a pair; None: a fresh one each visit."""

    @property
    def looks(self) -> int:
        """S x B, how many places the sequence has."""
        return self.steps * self.batch_size

    @property
    def draws_a_pair(self) -> int:
        """How many distinct draws the most visited pair uses."""
        visits = -(-self.looks // self.pairs)
        return visits if self.draws is None else min(visits, self.draws)

    def step(self, step: int) -> list[Look]:
        """Return the looks of a step, 0 <= step < S."""
        start = step * self.batch_size
        return [self._at(position) for position in range(start, start + self.batch_size)]

    def used_pairs(self) -> list[int]:
        """Return the pairs that are looked at at all, in ascending order."""
        if self.looks >= self.pairs:
            return list(range(self.pairs))
        return sorted(_order(self.seed, self.iteration, 0, self.pairs)[: self.looks])

    def used_draws(self, pair: int) -> range:
        """Return the draws of a pair that training uses."""
        full, rest = divmod(self.looks, self.pairs)
        visits = full + (pair in _last(self.seed, self.iteration, full, self.pairs, rest))
        return range(visits if self.draws is None else min(visits, self.draws))

    def _at(self, position: int) -> Look:
        visit, place = divmod(position, self.pairs)
        pair = _order(self.seed, self.iteration, visit, self.pairs)[place]
        return Look(pair, visit if self.draws is None else visit % self.draws)


@lru_cache(maxsize=4)
def _last(seed: int, iteration: int, visit: int, pairs: int, rest: int) -> frozenset[int]:
    """Return the pairs of the sequence's unfinished last round."""
    return frozenset(_order(seed, iteration, visit, pairs)[:rest])


def part_of(items: list[int], shard: int, shards: int) -> list[int]:
    """Return the ``shard``-th of ``shards`` nearly equal consecutive parts."""
    return items[len(items) * shard // shards : len(items) * (shard + 1) // shards]


def itinerary_for(
    settings: SpinHyperparameters | SftHyperparameters, *, seed: int, iteration: int, pairs: int
) -> Itinerary:
    """Return the itinerary of an iteration of a job.

    Args:
        settings: of the job.
        seed: of the job.
        iteration: 0 is the supervised start.
        pairs: rows of the encoded data.
    """
    steps = settings.for_iteration(iteration).steps
    draws = settings.draws if isinstance(settings, SpinHyperparameters) else None
    return Itinerary(seed, iteration, pairs, steps, settings.batch_size, draws)
