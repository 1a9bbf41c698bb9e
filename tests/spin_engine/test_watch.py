"""When an iteration speaks up and when it ends, step by step."""

import json
from dataclasses import asdict
from itertools import pairwise

import pytest

from spin_engine.watch import FEWEST, Limits, Watch, after, told


def seen(values: list[dict[str, float]], limits: Limits) -> list[Watch]:
    """Return the watch after each step, from none on."""
    found = [Watch()]
    for each in values:
        found.append(after(found[-1], {"margin": 0.0, "accuracy": 0.5} | each, limits))
    return found


def test_averages_worked_by_hand() -> None:
    found = seen([{"winner_drift": value} for value in (0.0, 1.0, 1.0)], Limits())
    assert [watch.winner_drift for watch in found[1:]] == pytest.approx([0.0, 0.1, 0.19])


def test_drift_is_told_of_once_and_not_at_once() -> None:
    found = seen([{"winner_drift": 0.5}] * 30, Limits(winner_drift=0.1))
    assert [watch.alarmed for watch in found] == [False] * FEWEST + [True] * 21
    sentences = [told(one, other) for one, other in pairwise(found)]
    assert [len(each) for each in sentences] == [0] * (FEWEST - 1) + [1] + [0] * 20
    assert sentences[FEWEST - 1][0].startswith("the winner is getting worse: m_w - r_w averages 0.5;")
    assert not any(watch.alarmed for watch in seen([{"winner_drift": 0.5}] * 30, Limits()))
    assert not any(watch.alarmed for watch in seen([{"winner_drift": -0.5}] * 30, Limits(winner_drift=0.0)))


def test_it_is_over_when_pairs_are_told_apart() -> None:
    found = seen([{"accuracy": 1.0}] * 12, Limits(accuracy=0.95))
    assert [watch.over for watch in found] == [None] * FEWEST + ["accuracy"] * 3
    assert told(found[FEWEST - 1], found[FEWEST]) == [
        "the iteration ends early: 100.0% of pairs are told apart"
    ]
    assert seen([{"accuracy": 0.9}] * 50, Limits(accuracy=0.95))[-1].over is None


def test_it_is_over_when_the_margin_rises_no_more() -> None:
    rising = [{"margin": float(step)} for step in range(20)]
    assert seen(rising, Limits(saturation=3))[-1].over is None
    falling = rising + [{"margin": -100.0}] * 5
    found = seen(falling, Limits(saturation=3))
    assert [watch.over for watch in found[20:]] == [None, None, None, "margin", "margin", "margin"]
    assert told(found[22], found[23]) == ["the iteration ends early: the margin has not risen for 3 steps"]


def test_a_step_without_numbers_changes_nothing() -> None:
    watch = seen([{"margin": 1.0}], Limits())[-1]
    assert after(watch, {}, Limits(saturation=1)) == watch
    assert after(watch, {"winner_error": 1.0}, Limits(saturation=1)) == watch


def test_it_goes_on_from_its_own_json() -> None:
    limits = Limits(winner_drift=0.0, saturation=2)
    values = [{"margin": float(step % 7), "winner_drift": 0.1} for step in range(25)]
    whole = seen(values, limits)
    for cut in (1, 9, 10, 15):
        kept = Watch(**json.loads(json.dumps(asdict(whole[cut]))))
        assert kept == whole[cut]
        for step in range(cut, 25):
            kept = after(kept, {"accuracy": 0.5} | values[step], limits)
        assert kept == whole[-1]
