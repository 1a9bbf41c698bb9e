"""In which order rows are looked at: pure functions of seed, iteration and visit, local for large data.

Each bucket of aspect ratios is an endless stream of visits to its n rows; a visit is an order of all of them.
Data whose shards fit the window is shuffled as a whole. Larger data is shuffled shard by shard, then cut into
windows of that many shards, and each window's rows are shuffled: whoever keeps a window's shards open reads
every shard once a visit. With several buckets a window is their equal share of the shards.

Buckets take turns in chunks of m looks. In round r bucket b gives its chunks floor(r n_b / m) up to
floor((r + 1) n_b / m), exclusively; whose turn it is is shuffled. So after every round each row had its r + 1
visits but for less than a chunk of each bucket, which the next round begins with: nothing is dropped. By
hand: m = 2 and buckets of 3 and 4 rows give 1 and 2 chunks in round 0, then 2 and 2, then 1 and 2.
"""

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate

import torch

from spin_engine.diffusion import generator


@dataclass(frozen=True)
class Layout:
    """Where rows lie, as far as their order has to know it; rows are numbered shard by shard."""

    counts: tuple[int, ...]
    """Rows of each shard."""
    buckets: tuple[int, ...]
    """Which bucket each shard is of, from 0."""

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """The first row of each shard."""
        return tuple(accumulate(self.counts[:-1], initial=0))

    @property
    def rows(self) -> int:
        """N, how many rows there are."""
        return sum(self.counts)

    def rows_of(self, shard: int) -> range:
        """Return the rows of a shard."""
        return range(self.starts[shard], self.starts[shard] + self.counts[shard])

    def shard_of(self, row: int) -> int:
        """Return the number of the shard that holds a row."""
        return bisect_right(self.starts, row) - 1

    def bucket_of(self, row: int) -> int:
        """Return the bucket of a row."""
        return self.buckets[self.shard_of(row)]


class Stream:
    """One bucket's rows, visited again and again: position q is place q mod n of visit q // n."""

    def __init__(
        self, layout: Layout, shards: tuple[int, ...], *, window: int, name: Callable[..., torch.Generator]
    ) -> None:
        """Prepare.

        Args:
            layout: of all rows.
            shards: of this bucket, ascending.
            window: shards that are shuffled together.
            name: returns the generator of a kind of order and its number: of this seed, iteration and bucket.
        """
        self._layout = layout
        self._shards = shards
        self._window = min(window, len(shards))
        self._name = name
        self.rows = sum(layout.counts[shard] for shard in shards)
        """n, the rows of the bucket."""
        self._order = lru_cache(maxsize=4)(self._make_order)
        self._rows = lru_cache(maxsize=2)(self._make_rows)
        self._prefix = lru_cache(maxsize=2)(self._make_prefix)

    def at(self, position: int) -> tuple[int, int]:
        """Return the row at a position, and which visit it is, from 0."""
        visit, place = divmod(position, self.rows)
        ends = self._order(visit).ends
        number = bisect_right(ends, place)
        return self._rows(visit, number)[place - (ends[number - 1] if number else 0)], visit

    def visits(self, row: int, positions: int) -> int:
        """Return how often a row of the bucket is among the first ``positions``."""
        full, rest = divmod(positions, self.rows)
        if not rest:
            return full
        order = self._order(full)
        number = order.window_of[self._layout.shard_of(row)]
        reached = bisect_right(order.ends, rest)
        if number != reached:
            return full + (number < reached)
        before = order.ends[number - 1] if number else 0
        return full + (row in self._prefix(full, number, rest - before))

    def used(self, positions: int) -> list[int]:
        """Return the rows among the first ``positions``."""
        if positions < self.rows:
            return [self.at(position)[0] for position in range(positions)]
        return [row for shard in self._shards for row in self._layout.rows_of(shard)]

    def _make_order(self, visit: int) -> "_Visit":
        order = list(self._shards)
        if self._window < len(order):
            shuffled = torch.randperm(len(order), generator=self._name("shards", visit)).tolist()
            order = [self._shards[place] for place in shuffled]
        windows = [order[start : start + self._window] for start in range(0, len(order), self._window)]
        sizes = (sum(self._layout.counts[shard] for shard in window) for window in windows)
        window_of = {shard: number for number, window in enumerate(windows) for shard in window}
        return _Visit(tuple(map(tuple, windows)), tuple(accumulate(sizes)), window_of)

    def _make_rows(self, visit: int, number: int) -> tuple[int, ...]:
        windows = self._order(visit).windows
        rows = [row for shard in windows[number] for row in self._layout.rows_of(shard)]
        source = self._name("order", visit) if len(windows) == 1 else self._name("window", visit, number)
        return tuple(rows[place] for place in torch.randperm(len(rows), generator=source).tolist())

    def _make_prefix(self, visit: int, number: int, length: int) -> frozenset[int]:
        return frozenset(self._rows(visit, number)[:length])


@dataclass(frozen=True)
class _Visit:
    """One visit to a bucket, window by window."""

    windows: tuple[tuple[int, ...], ...]
    """The shards of each."""
    ends: tuple[int, ...]
    """The place behind each one's last row."""
    window_of: dict[int, int]
    """By shard."""


class Order:
    """The endless sequence of rows of one iteration."""

    def __init__(self, layout: Layout, *, seed: int, iteration: int, chunk: int, window: int) -> None:
        """Prepare.

        Args:
            layout: where rows lie.
            seed: of the job.
            iteration: of the job.
            chunk: looks in a row that are of one bucket; no matter if there is one.
            window: shards that are shuffled together where there are more.
        """
        count = max(layout.buckets) + 1
        share = len(layout.counts) if len(layout.counts) <= window else max(1, window // count)
        self._layout = layout
        self._chunk = chunk

        def named(bucket: int) -> Callable[..., torch.Generator]:
            tag = (bucket,) if count > 1 else ()
            return lambda kind, *numbers: generator(seed, kind, iteration, *numbers, *tag)

        self._streams = []
        for bucket in range(count):
            shards = tuple(shard for shard, own in enumerate(layout.buckets) if own == bucket)
            self._streams.append(Stream(layout, shards, window=share, name=named(bucket)))
        self._source = lambda number: generator(seed, "buckets", iteration, number)
        self._round = lru_cache(maxsize=4)(self._make_round)

    def at(self, position: int) -> tuple[int, int]:
        """Return the row at a position, and which visit to it this is, from 0."""
        if len(self._streams) == 1:
            return self._streams[0].at(position)
        chunk, inside = divmod(position, self._chunk)
        number = self._round_of(chunk)
        turns = self._round(number)
        bucket, turn = turns[chunk - self._before(number)]
        return self._streams[bucket].at(turn * self._chunk + inside)

    def visits(self, row: int, positions: int) -> int:
        """Return how often a row is among the first ``positions``, whole chunks."""
        bucket = self._layout.bucket_of(row)
        return self._streams[bucket].visits(row, self._shares(positions)[bucket])

    def most_visits(self, positions: int) -> int:
        """Return how often the row that is met most is among the first ``positions``."""
        shares = self._shares(positions)
        return max(-(-share // stream.rows) for share, stream in zip(shares, self._streams, strict=True))

    def used(self, positions: int) -> list[int]:
        """Return the rows among the first ``positions``, ascending."""
        shares = self._shares(positions)
        return sorted(
            row for share, stream in zip(shares, self._streams, strict=True) for row in stream.used(share)
        )

    def _shares(self, positions: int) -> tuple[int, ...]:
        """Return how many of the first ``positions`` each bucket has."""
        if len(self._streams) == 1:
            return (positions,)
        chunks = positions // self._chunk
        number = self._round_of(chunks)
        turns = [bucket for bucket, _ in self._round(number)[: chunks - self._before(number)]]
        return tuple(
            (number * stream.rows // self._chunk + turns.count(bucket)) * self._chunk
            for bucket, stream in enumerate(self._streams)
        )

    def _before(self, number: int) -> int:
        """Return how many chunks come before a round."""
        return sum(number * stream.rows // self._chunk for stream in self._streams)

    def _round_of(self, chunk: int) -> int:
        """Return the round of a chunk: the last one with no more chunks before it."""
        last = (chunk + len(self._streams)) * self._chunk // self._layout.rows + 1
        return bisect_right(range(last + 1), chunk, key=self._before) - 1

    def _make_round(self, number: int) -> tuple[tuple[int, int], ...]:
        """Return bucket and chunk of each turn of a round."""
        turns = [
            (bucket, turn)
            for bucket, stream in enumerate(self._streams)
            for turn in range(number * stream.rows // self._chunk, (number + 1) * stream.rows // self._chunk)
        ]
        places = torch.randperm(len(turns), generator=self._source(number)).tolist()
        waiting = {bucket: iter([turn for turn in turns if turn[0] == bucket]) for bucket, _ in turns}
        return tuple(next(waiting[turns[place][0]]) for place in places)
