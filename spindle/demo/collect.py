"""Turns what the API tells of two jobs into the facts of the report."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from spindle.demo.facts import Chart, Column, Cost, Interval, Series
from spindle.results import Checkpoint, Event, Job, Metric

BASE = -1  # the iteration under which a job measures its base model
STAGES = ("encode", "generate", "train", "evaluate", "publish")
NAMES = ("loss", "margin", "accuracy", "winner_drift")
COUNTS = ("first", "second", "third", "fourth", "fifth")


def evaluations(events: Iterable[Event]) -> dict[int, dict[str, Interval]]:
    """Return the measures of each iteration; of one that was measured twice, the later."""
    found: dict[int, dict[str, Interval]] = {}
    for event in sorted(events, key=lambda event: event.id):
        if event.type == "evaluation" and event.data:
            values = event.data["values"]
            found[event.data["iteration"]] = {
                name: Interval(each["value"], each["low"], each["high"])
                for name, each in values.items()
                if None not in (each["value"], each["low"], each["high"])  # null: not a finite number
            }
    return found


def columns(
    sft: Job,
    spin: Job,
    measured: tuple[dict[int, dict[str, Interval]], dict[int, dict[str, Interval]]],
    checkpoints: Iterable[Checkpoint],
) -> tuple[Column, ...]:
    """Return the models that are compared: the base, SFT, and SPIN after each of its rounds.

    Args:
        sft: the supervised job, succeeded.
        spin: the self-play job, succeeded.
        measured: what ``evaluations`` found in each.
        checkpoints: those of the self-play job; the last of an iteration stands for it.
    """
    of_sft, of_spin = measured
    last: dict[int, Checkpoint] = {}
    for checkpoint in sorted(checkpoints, key=lambda each: (each.step_number, each.id)):
        last[checkpoint.iteration] = checkpoint
    rounds = int(spin.method.hyperparameters["n_iterations"])
    base = of_sft.get(BASE) or of_spin.get(BASE) or {}
    found = [
        Column("Base", "base", sft.model, "before fine-tuning", base),
        Column("SFT", "sft", result_of(sft), "supervised fine-tuning", of_sft.get(1, {})),
    ]
    for number in range(1, rounds + 1):
        name = result_of(spin) if number == rounds else last[number].id
        note = f"{COUNTS[number - 1] if number <= len(COUNTS) else f'{number}th'} round of self-play"
        found.append(Column(f"SPIN {number}", "spin", name, note, of_spin.get(number, {})))
    return tuple(found)


def guidances(job: Job) -> tuple[float, ...]:
    """Return the guidances at which a job measured its iterations."""
    given = job.method.hyperparameters["eval_guidance"]
    return tuple(map(float, given)) if isinstance(given, list) else (float(given),)


def result_of(job: Job) -> str:
    """Return the model that a succeeded job made."""
    assert job.fine_tuned_model, "a succeeded job has a result"
    return job.fine_tuned_model


def plan(job: Job) -> tuple[tuple[int, int], ...]:
    """Return the iterations of a job with their optimiser steps; iteration 0 is supervised."""
    settings = job.method.hyperparameters
    if job.method.type == "sft":
        return ((1, int(settings["steps"])),)
    steps = settings["steps"]
    each = steps if isinstance(steps, list) else [steps] * int(settings["n_iterations"])
    start = [(0, int(settings["sft_steps"]))] if settings.get("sft_steps") else []
    return (*start, *enumerate(map(int, each), start=1))


def charts(sft: Job, spin: Job, of_sft: Sequence[Metric], of_spin: Sequence[Metric]) -> tuple[Chart, ...]:
    """Return the curves: the supervised loss, and what is worth seeing of self-play."""
    supervised = [Series("SFT", "sft", _points(sft, of_sft, "loss", supervised=True))]
    start = _points(spin, of_spin, "loss", supervised=True)
    if start:
        supervised.append(Series("SPIN's supervised start", "spin", start))

    def of_self_play(title: str, note: str, name: str) -> Chart:
        series = Series("SPIN", "spin", _points(spin, of_spin, name, supervised=False))
        return Chart(title, note, (series,), tuple((step, text) for step, text in _bounds(spin)))

    return (
        Chart("Supervised loss", "Mean squared error on the fine-tuning pictures.", tuple(supervised)),
        of_self_play(
            "Self-play loss", "Begins at ln 2 in every round, where model and opponent are one.", "loss"
        ),
        of_self_play(
            "Margin", "By how much more than its opponent the model prefers the real picture.", "margin"
        ),
        of_self_play(
            "Drift on the real pictures", "Change of their own error; best not above zero.", "winner_drift"
        ),
    )


def _offsets(job: Job) -> dict[int, int]:
    found, total = {}, 0
    for iteration, steps in plan(job):
        found[iteration], total = total, total + steps
    return found


def _bounds(spin: Job) -> list[tuple[float, str]]:
    first = _offsets(spin)[1]
    return [(float(at - first), f"SPIN {number}") for number, at in _offsets(spin).items() if number >= 1]


def _points(
    job: Job, metrics: Iterable[Metric], name: str, *, supervised: bool
) -> tuple[tuple[float, float], ...]:
    offsets = _offsets(job)
    wanted = {number for number in offsets if supervised == (job.method.type == "sft" or number == 0)}
    first = min((offsets[number] for number in wanted), default=0)
    found = {
        float(offsets[each.iteration] - first + each.step): each.value
        for each in metrics
        if each.name == name and each.iteration in wanted and each.value is not None
    }
    return tuple(sorted(found.items()))


def cost(job: Job, label: str) -> Cost:
    """Return what a job took: from its start to its end, and by stage, from its units' own clocks."""
    spent = dict.fromkeys(STAGES, 0.0)
    for unit in job.attempts:
        if unit.get("kind") in spent and unit.get("started_at") and unit.get("finished_at"):
            spent[unit["kind"]] += float(unit["finished_at"]) - float(unit["started_at"])
    steps = sum(count for _, count in plan(job))
    return Cost(
        label,
        "sft" if job.method.type == "sft" else "spin",
        float((job.finished_at or 0) - (job.started_at or job.created_at)),
        tuple((stage, seconds) for stage, seconds in spent.items() if seconds > 0),
        steps,
        steps * int(job.method.hyperparameters["batch_size"]),
    )


def settings(sft: Job, spin: Job) -> tuple[tuple[str, str], ...]:
    """Return the settings of both jobs, once where they agree."""
    left, right = sft.method.hyperparameters, spin.method.hyperparameters
    found = [("seed", f"{sft.seed}" if sft.seed == spin.seed else f"SFT {sft.seed} · SPIN {spin.seed}")]
    for name in dict.fromkeys((*left, *right)):
        one, other = _shown(left.get(name)), _shown(right.get(name))
        if name in left and name in right:
            found.append((name, one if one == other else f"SFT {one} · SPIN {other}"))
        else:
            found.append((name, f"SFT {one}" if name in left else f"SPIN {other}"))
    return tuple((name.replace("_", " "), value) for name, value in found)


def _shown(value: Any) -> str:
    return "none" if value is None else value if isinstance(value, str) else json.dumps(value)
