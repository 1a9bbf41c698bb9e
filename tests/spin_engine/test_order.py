"""The order of rows: complete, local where data is large, of one bucket a chunk."""

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spin_engine.diffusion import generator
from spin_engine.order import Layout, Order

LAYOUTS = st.lists(st.tuples(st.integers(1, 7), st.integers(0, 2)), min_size=1, max_size=8)


def layout_of(shards: list[tuple[int, int]]) -> Layout:
    """Return a layout whose buckets are numbered without gaps."""
    different = sorted({bucket for _, bucket in shards})
    return Layout(tuple(count for count, _ in shards), tuple(different.index(bucket) for _, bucket in shards))


def test_data_that_fits_is_shuffled_as_a_whole() -> None:
    """The bits of this order are a promise: a resumed training must meet the pairs it would have met."""
    order = Order(Layout((4, 3), (0, 0)), seed=3, iteration=1, chunk=2, window=2)
    for visit in range(3):
        expected = torch.randperm(7, generator=generator(3, "order", 1, visit)).tolist()
        assert [order.at(visit * 7 + place) for place in range(7)] == [(row, visit) for row in expected]


@given(shards=LAYOUTS, chunk=st.integers(1, 4), window=st.integers(1, 9), chunks=st.integers(1, 30))
def test_what_is_counted_is_what_is_met(
    shards: list[tuple[int, int]], chunk: int, window: int, chunks: int
) -> None:
    layout = layout_of(shards)
    order = Order(layout, seed=1, iteration=2, chunk=chunk, window=window)
    met = [order.at(position) for position in range(chunks * chunk)]
    counts = Counter(row for row, _ in met)
    assert order.used(len(met)) == sorted(counts)
    assert order.most_visits(len(met)) == max(counts.values())
    assert all(order.visits(row, len(met)) == counts[row] for row in range(layout.rows))
    assert len(set(met)) == len(met)
    for start in range(0, len(met), chunk):
        assert len({layout.bucket_of(row) for row, _ in met[start : start + chunk]}) == 1


@given(shards=LAYOUTS, chunk=st.integers(1, 4), rounds=st.integers(1, 4))
def test_no_row_falls_behind(shards: list[tuple[int, int]], chunk: int, rounds: int) -> None:
    """After r N looks every bucket had its r n_b, but for less than a chunk of each bucket."""
    layout = layout_of(shards)
    order = Order(layout, seed=1, iteration=2, chunk=chunk, window=99)
    looks = rounds * layout.rows // chunk * chunk
    slack = chunk * (max(layout.buckets) + 1)
    met = Counter(layout.bucket_of(order.at(position)[0]) for position in range(looks))
    for bucket in range(max(layout.buckets) + 1):
        rows = sum(count for count, own in zip(layout.counts, layout.buckets, strict=True) if own == bucket)
        assert abs(met[bucket] - rounds * rows) <= slack


@pytest.mark.parametrize("buckets", [1, 2])
def test_large_data_is_met_window_by_window(buckets: int) -> None:
    layout = Layout((5,) * 20, tuple(shard % buckets for shard in range(20)))
    order = Order(layout, seed=1, iteration=1, chunk=1, window=4)
    first = [
        [order.at(position)[0] for position in range(visit * 100, visit * 100 + 100)] for visit in (0, 1)
    ]
    assert sorted(first[0]) == list(range(100))
    assert first[0] != first[1]
    spans: dict[int, list[int]] = {}
    for position, row in enumerate(first[0]):
        spans.setdefault(layout.shard_of(row), []).append(position)
    open_at = [sum(s[0] <= at <= s[-1] for s in spans.values()) for at in range(100)]
    assert max(open_at) <= 4 + buckets
    assert [layout.shard_of(row) for row in first[0]][:20] != sorted(
        layout.shard_of(row) for row in first[0]
    )[:20]


def test_chunks_take_turns_by_hand() -> None:
    """Chunks of two from buckets of 3 and 4 rows: 1 and 2 in round 0, then 2 and 2, then 1 and 2."""
    layout = Layout((3, 4), (0, 1))
    order = Order(layout, seed=1, iteration=1, chunk=2, window=9)
    turns = [layout.bucket_of(order.at(2 * chunk)[0]) for chunk in range(10)]
    assert [Counter(part) for part in (turns[:3], turns[3:7], turns[7:])] == [
        Counter({0: 1, 1: 2}),
        Counter({0: 2, 1: 2}),
        Counter({0: 1, 1: 2}),
    ]
