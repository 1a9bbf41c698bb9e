"""Each invariant holds of a sound history, and is broken by the breach that it is meant to see."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.chaos import invariants
from tests.chaos.history import History, Run, Saved, Seen, Sent, Told
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
    ("state", {"state": "running"}),
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


def hook(number: int, state: str, **values: Any) -> Sent:
    body = {"id": f"whe-{number}", "type": f"fine_tuning.job.{state}", "data": {"id": JOB, "status": state}}
    return replace(Sent(f"whe-{number}", json.dumps(body), at=float(number), signed=True), **values)


# The end was told again by a sender that did not know of the first time.
HOOKS = (hook(1, "running"), hook(2, "succeeded"), hook(2, "succeeded", at=9.0))


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
        sent={"/hook": HOOKS},
    )
    return replace(history, **values)


def with_run(**values: Any) -> History:
    history = sound()
    return replace(history, runs=(replace(history.runs[0], **values),))


def hooked(*sent: Sent) -> History:
    return sound(sent={"/hook": sent})


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
        sound(without(11), runs=(replace(sound(without(11)).runs[0], models=0),)),
    ),
    "a model nobody told of": (invariants.one_model, sound(without(11))),
    "a gap": (invariants.events_have_no_gap, with_run(events=told(STORY)[1:])),
    "the same fence again": (invariants.fences_rise, sound(swapped(8, unit("running", 1)))),
    "a zombie ends the unit": (invariants.no_stale_write, sound(swapped(10, unit("succeeded", 1)))),
    "a zombie's checkpoint": (
        invariants.no_stale_write,
        sound([*STORY[:5], *STORY[6:10], SAVED, *STORY[10:]]),
    ),
    "a checkpoint of nobody": (
        invariants.no_stale_write,
        sound([*STORY[:5], *STORY[6:8], SAVED, *STORY[8:]]),
    ),
    "a zombie's output": (
        invariants.no_stale_write,
        sound(units=(replace(sound().units[0], keys=(key(1, "out/a"),)),)),
    ),
    "a step left out": (invariants.steps_are_contiguous, sound(without(4))),
    "a step told twice": (invariants.steps_are_contiguous, sound(swapped(9, step(3)))),
    "a step too few": (invariants.steps_are_contiguous, sound(without(9))),
    "more than an interval": (invariants.at_most_one_interval_lost, sound(without(5))),
    "steps that were skipped": (
        invariants.at_most_one_interval_lost,
        sound([*STORY[:6], *STORY[7:], ("checkpoint", SAVED[1] | {"step": 5}), unit("running", 3)]),
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
    "a webhook still owed": (invariants.all_is_quiet, sound(undelivered=1)),
    "an end that no webhook told": (invariants.webhooks_leave_nothing_out, hooked(*HOOKS[:1])),
    "an endpoint that was told nothing": (invariants.webhooks_leave_nothing_out, hooked()),
    "an end that only a stranger told": (
        invariants.webhooks_leave_nothing_out,
        hooked(HOOKS[0], hook(2, "succeeded", signed=False)),
    ),
    "one end as two events": (invariants.webhooks_make_nothing_up, hooked(*HOOKS, hook(3, "succeeded"))),
    "a pause that never was": (invariants.webhooks_make_nothing_up, hooked(*HOOKS, hook(3, "paused"))),
    "a webhook of no job": (
        invariants.webhooks_make_nothing_up,
        hooked(*HOOKS, hook(3, "running", body=HOOKS[0].body.replace(JOB, "ftjob-2"))),
    ),
    "another end": (invariants.webhooks_agree_with_the_end, hooked(*HOOKS, hook(3, "failed"))),
    "a state under another type": (
        invariants.webhooks_agree_with_the_end,
        hooked(*HOOKS[:2], replace(HOOKS[2], body=HOOKS[2].body.replace("job.succeeded", "job.failed"))),
    ),
    "another body the second time": (
        invariants.webhooks_repeat_themselves,
        hooked(*HOOKS, replace(HOOKS[2], body=HOOKS[2].body + " ")),
    ),
    "another id than in the body": (
        invariants.webhooks_repeat_themselves,
        hooked(*HOOKS, replace(HOOKS[2], id="whe-3")),
    ),
    "a bad signature": (invariants.webhooks_are_signed, hooked(*HOOKS, hook(3, "failed", signed=False))),
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
    story = [*STORY[:10], ("state", {"state": "cancelled"})]
    run = Run(JOB, "job-0", "sft", "cancelled", every=2, steps=4, cancelled=True, events=told(story))
    kept = {key(1, "checkpoints/2/a"): "c" * 64}
    unit_ = Seen(UNIT, JOB, "train", 1, "cancelled", 3)
    sent = {"/hook": (hook(1, "running"), hook(2, "cancelled"))}
    assert check(sound(runs=(run,), units=(unit_,), referenced=kept, objects=kept, sent=sent)) == []
