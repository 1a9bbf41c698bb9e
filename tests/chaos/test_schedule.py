"""The schedule of faults is a pure function of its seed, and leaves no cell out."""

from tests.chaos.faults import VICTIMS as HITS
from tests.chaos.schedule import CELLS, VICTIMS, schedule


def test_the_same_seed_gives_the_same_faults() -> None:
    assert schedule(3, 100) == schedule(3, 100)
    assert schedule(3, 100) != schedule(4, 100)
    assert schedule(3, 100)[:20] == schedule(3, 20)
    assert [fault.number for fault in schedule(3, 100)] == list(range(100))


def test_every_cell_comes_before_any_comes_again() -> None:
    once = {(fault.victim, fault.moment) for fault in schedule(1, len(CELLS))}
    assert once == set(CELLS)


def test_one_victim_can_be_chosen() -> None:
    assert {fault.victim for fault in schedule(1, 20, only="zombie")} == {"zombie"}


def test_every_victim_can_be_hit() -> None:
    assert set(VICTIMS) == set(HITS)
