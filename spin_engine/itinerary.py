"""Which pair is looked at when: pure functions, so that ``generate`` knows what ``train`` will use.

An iteration sees S steps of B captions each. The sequence runs through all N pairs in a shuffled order, then
through them again in another (``order``): visit v to a pair uses draw v, or v modulo ``draws``.
"""

from dataclasses import dataclass
from functools import cached_property

from spin_engine.hyperparameters import Hyperparameters
from spin_engine.order import Layout, Order


@dataclass(frozen=True)
class Look:
    """One place in the sequence: which pair, and which of its draws of timestep and noise."""

    pair: int
    draw: int


@dataclass(frozen=True)
class Itinerary:
    """The planned looks of one iteration."""

    seed: int
    iteration: int
    layout: Layout
    """Where the N pairs lie."""
    steps: int
    batch_size: int
    draws: int | None
    """Distinct draws a pair; None: a fresh one each visit."""
    chunk: int = 1
    """Looks in a row that are of one bucket, a divisor of B."""
    window: int = 64
    """Shards that are shuffled together."""

    @property
    def looks(self) -> int:
        """S x B, how many places the sequence has."""
        return self.steps * self.batch_size

    @property
    def draws_a_pair(self) -> int:
        """How many distinct draws the most visited pair uses."""
        return self._distinct(self._order.most_visits(self.looks))

    def step(self, step: int) -> list[Look]:
        """Return the looks of a step, 0 <= step < S."""
        start = step * self.batch_size
        return [self._at(position) for position in range(start, start + self.batch_size)]

    def used_pairs(self) -> list[int]:
        """Return the pairs that are looked at at all, in ascending order."""
        return self._order.used(self.looks)

    def used_draws(self, pair: int) -> range:
        """Return the draws of a pair that training uses."""
        return range(self._distinct(self._order.visits(pair, self.looks)))

    @cached_property
    def _order(self) -> Order:
        return Order(
            self.layout, seed=self.seed, iteration=self.iteration, chunk=self.chunk, window=self.window
        )

    def _at(self, position: int) -> Look:
        pair, visit = self._order.at(position)
        return Look(pair, visit if self.draws is None else visit % self.draws)

    def _distinct(self, visits: int) -> int:
        return visits if self.draws is None else min(visits, self.draws)


def part_of(items: list[int], shard: int, shards: int) -> list[int]:
    """Return the ``shard``-th of ``shards`` nearly equal consecutive parts."""
    return items[len(items) * shard // shards : len(items) * (shard + 1) // shards]


def itinerary_for(settings: Hyperparameters, *, seed: int, iteration: int, layout: Layout) -> Itinerary:
    """Return the itinerary of an iteration of a job.

    Args:
        settings: of the job.
        seed: of the job.
        iteration: 0 is the supervised start.
        layout: of the encoded data.
    """
    plan = settings.for_iteration(iteration)
    return Itinerary(
        seed,
        iteration,
        layout,
        plan.steps,
        settings.batch_size,
        plan.draws,
        chunk=min(settings.micro_batch_size or settings.batch_size, settings.batch_size),
        window=settings.shuffle_window,
    )
