"""Each invariant holds of a sound history, and is broken by the breach that it is meant to see."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.chaos import invariants
from tests.chaos.history import History, Run, Saved, Seen, Told
from tests.chaos.invariants import INVARIANTS, check, repeats

JOB, UNIT, CHECKPOINT = "ftjob-1", "unit-1", "ftckpt-1"
WEIGHTS = {"weights/a.safetensors": "a" * 64}


def unit(state: str, fence: int) -> tuple[str, dict[str, Any]]:
    told = {"unit": UNIT, "kind": "train", "iteration": 1, "state": state, "fence": fence, "worker": "w"}
    return "unit", told


def step(number: int) -> tuple[str, dict[str, Any]]:
    return "metrics", {"iteration": 1, "step": number}


SAVED = ("checkpoint", {"checkpoint": CHECKPOINT, "iteration": 1, "step": 2, "unit": UNIT})
STORY = [
    ("state", {"state": "queued"}),
    unit("running", 1),
    step(1),
    step(2),
    SAVED,
    step(3),
    unit("pending", 1),
    unit("running", 2),
    step(4),
    unit("succeeded", 2),
    ("model", {"model": "ft:tiny"}),
    ("state", {"state": "succeeded"}),
]


def told(story: list[tuple[str, dict[str, Any]]]) -> tuple[Told, ...]:
    return tuple(Told(seq, kind, data) for seq, (kind, data) in enumerate(story, start=1))


def key(fence: int, name: str) -> str:
    return f"jobs/{JOB}/units/{UNIT}/{fence}/{name}"


def sound(story: list[tuple[str, dict[str, Any]]] = STORY, **values: Any) -> History:
    """Return the history of one job whose training was lost after three steps of four, and went on."""
    run = Run(JOB, "job-0", "sft", "succeeded", every=2, steps=4, events=told(story), models=1)
    kept = {key(1, "checkpoints/2/a"): "c" * 64, key(2, "out/a"): "a" * 64}
    history = History(
        accepted={"job-0": JOB},
        runs=(run,),
        units=(Seen(UNIT, JOB, "train", 1, "succeeded", 2, (key(2, "out/a"),), WEIGHTS),),
        checkpoints={CHECKPOINT: Saved(UNIT, 2, (key(1, "checkpoints/2/a"),))},
        referenced=kept,
        objects=kept,
        reference={"sft": {1: WEIGHTS}},
    )
    return replace(history, **values)


def with_run(**values: Any) -> History:
    history = sound()
    return replace(history, runs=(replace(history.runs[0], **values),))


def without(index: int) -> list[tuple[str, dict[str, Any]]]:
    return STORY[:index] + STORY[index + 1 :]


def swapped(index: int, other: tuple[str, dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    return [*STORY[:index], other, *STORY[index + 1 :]]


BREACHES: dict[str, tuple[Callable[..., Any], History]] = {
    "accepted and gone": (invariants.jobs_end, sound(runs=())),
    "for ever running": (invariants.jobs_end, with_run(state="running")),
    "failed by our fault": (invariants.jobs_end, with_run(state="failed")),
    "cancelled by nobody": (invariants.jobs_end, with_run(state="cancelled")),
    "two ends": (invariants.ends_once, sound([*STORY, ("state", {"state": "succeeded"})])),
    "back from its end": (invariants.ends_once, sound([*STORY, ("state", {"state": "running"})])),
    "no end told": (invariants.ends_once, sound(STORY[:-1])),
    "one request, two jobs": (
        invariants.asked_once_made_once,
        sound(runs=(sound().runs[0], replace(sound().runs[0], id="ftjob-2"))),
    ),
    "another job answered": (invariants.asked_once_made_once, sound(accepted={"job-0": "ftjob-9"})),
    "two models": (invariants.one_model, with_run(models=2)),
    "no model": (
        invariants.one_model,
        sound(without(10), runs=(replace(sound(without(10)).runs[0], models=0),)),
    ),
    "a model nobody told of": (invariants.one_model, sound(without(10))),
    "a gap": (invariants.events_have_no_gap, with_run(events=told(STORY)[1:])),
    "the same fence again": (invariants.fences_rise, sound(swapped(7, unit("running", 1)))),
    "a zombie ends the unit": (invariants.no_stale_write, sound(swapped(9, unit("succeeded", 1)))),
    "a zombie's checkpoint": (
        invariants.no_stale_write,
        sound([*STORY[:4], *STORY[5:9], SAVED, *STORY[9:]]),
    ),
    "a checkpoint of nobody": (
        invariants.no_stale_write,
        sound([*STORY[:4], *STORY[5:7], SAVED, *STORY[7:]]),
    ),
    "a zombie's output": (
        invariants.no_stale_write,
        sound(units=(replace(sound().units[0], keys=(key(1, "out/a"),)),)),
    ),
    "a step left out": (invariants.steps_are_contiguous, sound(without(3))),
    "a step told twice": (invariants.steps_are_contiguous, sound(swapped(8, step(3)))),
    "a step too few": (invariants.steps_are_contiguous, sound(without(8))),
    "more than an interval": (invariants.at_most_one_interval_lost, sound(without(4))),
    "steps that were skipped": (
        invariants.at_most_one_interval_lost,
        sound([*STORY[:5], *STORY[6:], ("checkpoint", SAVED[1] | {"step": 5}), unit("running", 3)]),
    ),
    "other weights": (invariants.weights_are_equal, sound(reference={"sft": {1: {"weights/a": "b" * 64}}})),
    "no weights to compare": (invariants.weights_are_equal, sound(reference={"sft": {1: {}}})),
    "deleted though told of": (invariants.nothing_is_missing, sound(objects={})),
    "damaged": (
        invariants.nothing_is_missing,
        sound(objects=dict.fromkeys(sound().objects, "0" * 64)),
    ),
    "an orphan": (invariants.no_orphans, sound(referenced={})),
    "a unit for ever": (
        invariants.all_is_quiet,
        sound(units=(replace(sound().units[0], state="pending"),)),
    ),
    "an attempt without an end": (invariants.all_is_quiet, sound(open_attempts=1)),
    "a message still owed": (invariants.all_is_quiet, sound(unsent=1)),
    "a process left": (invariants.all_is_quiet, sound(processes=1)),
    "a quota still held": (invariants.quotas_are_free, sound(reserved={"proj-1": {"open_jobs": 1.0}})),
}


def test_a_sound_history_breaks_nothing() -> None:
    assert check(sound()) == []
    assert repeats(sound().runs[0]) == {(UNIT, 1): 0, (UNIT, 2): 1}


@pytest.mark.parametrize("breach", BREACHES)
def test_a_breach_is_seen(breach: str) -> None:
    invariant, history = BREACHES[breach]
    assert list(invariant(history)), breach
    assert invariant.__name__ in {found.invariant for found in check(history)}


def test_every_invariant_is_fed_a_breach() -> None:
    assert {invariant for invariant, _ in BREACHES.values()} == set(INVARIANTS)


def test_a_cancelled_job_is_as_good_as_one_that_succeeded() -> None:
    story = [*STORY[:9], ("state", {"state": "cancelled"})]
    run = Run(JOB, "job-0", "sft", "cancelled", every=2, steps=4, cancelled=True, events=told(story))
    kept = {key(1, "checkpoints/2/a"): "c" * 64}
    unit_ = Seen(UNIT, JOB, "train", 1, "cancelled", 3)
    assert check(sound(runs=(run,), units=(unit_,), referenced=kept, objects=kept)) == []
