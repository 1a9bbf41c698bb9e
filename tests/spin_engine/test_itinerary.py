"""What is planned for generation is what training looks at."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spin_engine.itinerary import Itinerary, Look, part_of
from spin_engine.order import Layout

FIFTY = Layout((50,), (0,))


def all_looks(itinerary: Itinerary) -> list[Look]:
    return [look for step in range(itinerary.steps) for look in itinerary.step(step)]


@given(
    pairs=st.integers(1, 20),
    steps=st.integers(1, 12),
    batch_size=st.integers(1, 9),
    draws=st.none() | st.integers(1, 4),
)
def test_planned_draws_are_the_ones_looked_at(
    pairs: int, steps: int, batch_size: int, draws: int | None
) -> None:
    itinerary = Itinerary(3, 1, Layout((pairs,), (0,)), steps, batch_size, draws)
    looked = all_looks(itinerary)
    planned = {Look(pair, number) for pair in itinerary.used_pairs() for number in itinerary.used_draws(pair)}
    assert set(looked) == planned
    assert itinerary.draws_a_pair == max(look.draw for look in looked) + 1
    visits = Counter(look.pair for look in looked)
    assert max(visits.values()) - min(visits.get(pair, 0) for pair in range(pairs)) <= 1
    if draws is None:
        assert len(planned) == len(looked)


def test_order_changes_with_seed_iteration_and_round() -> None:
    one = all_looks(Itinerary(3, 1, FIFTY, 20, 5, None))
    assert [look.pair for look in one[:50]] != [look.pair for look in one[50:]]
    assert one == all_looks(Itinerary(3, 1, FIFTY, 20, 5, None))
    assert one != all_looks(Itinerary(4, 1, FIFTY, 20, 5, None))
    assert one != all_looks(Itinerary(3, 2, FIFTY, 20, 5, None))


@pytest.mark.parametrize("shards", [1, 3, 7, 20])
def test_parts_make_up_the_whole(shards: int) -> None:
    items = list(range(16))
    parts = [part_of(items, shard, shards) for shard in range(shards)]
    assert [item for part in parts for item in part] == items
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
