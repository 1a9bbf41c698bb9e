"""What a job does, in words."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from core.formats import duration, listed
from core.models import JOB_ENDED, Job, JobState, Reason, UnitState
from core.offers import TITLES
from core.runs.retries import RULES, Rule, first_line
from core.runs.views import JobDetails

STAGES = {
    "ingest": "Check the data",
    "encode": "Encode the data",
    "generate": "Draw rivals",
    "train": "Train",
    "evaluate": "Measure",
    "publish": "Publish the model",
}
DOING = {
    "encode": "Encoding the data",
    "generate": "Drawing rivals",
    "train": "Training",
    "evaluate": "Measuring",
    "publish": "Publishing the model",
}
METHODS = {kind: title.partition(" (")[0] for kind, title in TITLES.items()}
STANDS = {
    JobState.validating_files: "Its data is being checked; it starts by itself when that is done.",
    JobState.paused: "It is paused. Resume it, and it goes on from its last checkpoint.",
    JobState.succeeded: "It is done, and its model can be used.",
    JobState.cancelled: "It was cancelled. Its checkpoints stay.",
}
GOING = ("running", "pending", "failed", "waiting", "cancelled", "succeeded")
"""States of a stage's units: the first that any is in is the stage's."""


@dataclass(frozen=True)
class Stage:
    """Units of one kind and iteration, as people look at them.

    Attributes:
        name: what is done.
        of: in which iteration; empty where it belongs to none.
        state: of the units together.
        done: how many have succeeded.
        shards: how many there are.
        share: how much is done, from 0 to 1.
        progress: of a unit that runs, in words.
        workers: that work on it, or did.
        attempts: the most that one unit took.
        seconds: that its units took in all; None before the first has ended.
        failures: why units failed, with what to do.
    """

    name: str
    of: str
    state: str
    done: int
    shards: int
    share: float
    progress: str
    workers: tuple[str, ...]
    attempts: int
    seconds: float | None
    failures: tuple[tuple[str, str], ...]


def capital(name: object) -> str:
    """Return ``validating_files`` as ``Validating files``."""
    text = str(name).replace("_", " ")
    return text[:1].upper() + text[1:]


def iteration(number: int) -> str:
    """Return what people call an iteration."""
    return {-1: "base model", 0: "supervised start"}.get(number, f"iteration {number}")


def stages(attempts: Sequence[dict[str, Any]]) -> list[Stage]:
    """Return the stages of a job in the order of its plan."""
    groups: dict[tuple[str, int], list[dict[str, Any]]] = defaultdict(list)
    for unit in attempts:
        groups[unit["kind"], unit["iteration"]].append(unit)
    return [_stage(kind, number, units) for (kind, number), units in groups.items()]


def _stage(kind: str, number: int, units: Sequence[dict[str, Any]]) -> Stage:
    states = {unit["state"] for unit in units}
    done = [unit for unit in units if unit["state"] == UnitState.succeeded]
    running = [unit for unit in units if unit["state"] == UnitState.running]
    took = [
        unit["finished_at"] - unit["started_at"]
        for unit in units
        if unit["finished_at"] and unit["started_at"]
    ]
    failed = {failure_of(unit): None for unit in units if unit["failure"]}
    return Stage(
        name=STAGES.get(kind, kind),
        of="" if kind in ("encode", "publish") else iteration(number),
        state=next(state for state in GOING if state in states),
        done=len(done),
        shards=len(units),
        share=(len(done) + sum(map(share, running))) / len(units),
        progress=steps(running[0]) if running else "",
        workers=tuple(sorted({unit["worker"] for unit in units if unit["worker"]})),
        attempts=max(unit["attempt"] for unit in units),
        seconds=sum(took) if took else None,
        failures=tuple(failed),
    )


def share(unit: dict[str, Any]) -> float:
    """Return how much of a running unit is done."""
    progress = unit["progress"] or {}
    return min(1.0, float(progress.get("step", 0)) / max(1, progress.get("of") or 1))


def steps(unit: dict[str, Any]) -> str:
    """Return ``step 40 of 80, 3 min left``."""
    progress = unit["progress"] or {}
    if "step" not in progress or not progress.get("of"):
        return "starting"
    left = progress.get("seconds_left")
    rest = "" if left is None else f", {duration(left)} left"
    return f"{progress['step']} of {progress['of']}{rest}"


def rule_of(failure: dict[str, Any]) -> Rule:
    """Return what is known of failures of this kind."""
    reason = failure.get("reason")
    return RULES[Reason(reason) if reason in set(Reason) else Reason.internal]


def failure_of(unit: dict[str, Any]) -> tuple[str, str]:
    """Return why a unit failed, and what to do."""
    failure = unit["failure"]
    rule = rule_of(failure)
    return f"{rule.who}: {first_line(failure.get('message') or '')}", rule.advice


def doing(job: Job, details: JobDetails) -> str:
    """Say in one sentence what a job does now, or what it waits for."""
    if job.cancel_requested and job.state not in JOB_ENDED:
        return "It is being cancelled: what runs stops within seconds."
    if job.pause_requested:
        return "It will pause as soon as what runs has written its checkpoint."
    if job.state is JobState.running:
        return _running(details)
    return _queued(details) if job.state is JobState.queued else STANDS.get(job.state, "")


def _running(details: JobDetails) -> str:
    running = [unit for unit in details.attempts if unit["state"] == UnitState.running]
    if not running:
        return "Between two stages: the next one waits for a worker."
    told = {
        f"{DOING.get(unit['kind'], unit['kind'])}{_place(unit)} ({steps(unit)})": None for unit in running[:2]
    }
    more = f", and {len(running) - 2} more" if len(running) > 2 else ""
    text = listed(list(told))
    return f"{text}{more}."


def _place(unit: dict[str, Any]) -> str:
    if unit["kind"] in ("encode", "publish"):
        return ""
    return f", {iteration(unit['iteration'])}"


def _queued(details: JobDetails) -> str:
    if details.waits_for is not None:
        return f"It waits for {details.waits_for}."
    place = details.queue_position
    told = "It is next in the queue" if place == 1 else f"It is number {place} in the queue"
    if details.starts_at is None:
        return f"{told}."
    left = details.starts_at - datetime.now(UTC).timestamp()
    return f"{told}, and starts in about {duration(left)}." if left > 1 else f"{told}."
