"""What a job's training looked like: its curves, and what it cost."""

from collections.abc import Iterator, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.methods import hyperparameters_of
from core.models import Job, Unit
from core.report.facts import Chart, Cost, Role, Series
from core.runs.curves import Curve, curves
from spin_engine.hyperparameters import Hyperparameters

POINTS = 240
"""Of each number in each iteration: more than a chart has pixels for."""
STAGES = ("encode", "generate", "train", "evaluate", "publish")
LN_2 = frozenset({"spin", "dpo", "seppo"})
NOTES = {
    "margin": ("Margin", "By how much more than its opponent the model prefers the real picture."),
    "accuracy": ("Accuracy", "Share of pairs in which the model tells the real picture from its rival."),
    "winner_drift": ("Winner drift", "Change of the error on the real pictures; best not above zero."),
}
SUPERVISED = "supervised_loss"


def charts(session: Session, jobs: Sequence[tuple[str, Job]]) -> tuple[Chart, ...]:
    """Return the curves of a job, the last one, beside those of another; what was not measured is left out.

    Losses of two kinds are never in one chart.
    """
    found: dict[str, list[Series]] = {}
    for label, job in jobs:
        role: Role = "own" if job is jobs[-1][1] else "other"
        asked = hyperparameters_of(job.method)
        measured = curves(session, job, names=["loss", *NOTES], points=POINTS)
        for name, series in _series(job, asked, measured, label, role):
            found.setdefault(name, []).append(series)
    own = jobs[-1][1]
    asked = hyperparameters_of(own.method)
    order = (SUPERVISED, "loss", *NOTES)
    return tuple(
        Chart(name, *_words(name, own), tuple(found[name]), _bounds(asked, supervised=name == SUPERVISED))
        for name in order
        if name in found
    )


def _words(name: str, job: Job) -> tuple[str, str]:
    if name == SUPERVISED:
        return "Supervised loss", "Mean squared error on the fine-tuning pictures."
    if name == "loss":
        kind = job.method["type"]
        begin = " Begins at ln 2 in every round, where model and opponent are one." if kind in LN_2 else ""
        return "Loss", f"What {kind.upper()} minimises.{begin}"
    return NOTES[name]


def _series(
    job: Job, asked: Hyperparameters, measured: Sequence[Curve], label: str, role: Role
) -> Iterator[tuple[str, Series]]:
    """Yield the chart's name and the line for each number, its iterations one after the other."""
    kinds = {number: asked.for_iteration(number).objective for number in asked.iterations}
    offsets = _offsets(asked)
    lines: dict[str, list[tuple[float, float, float, float]]] = {}
    for curve in measured:
        if curve.iteration not in offsets:
            continue
        supervised = kinds[curve.iteration] == "sft"
        name = SUPERVISED if supervised and curve.name == "loss" else curve.name
        start = offsets[curve.iteration]
        lines.setdefault(name, []).extend(
            (float(start + point.step), point.value, point.low, point.high) for point in curve.points
        )
    for name, points in lines.items():
        start_of_another = name == SUPERVISED and job.method["type"] != "sft"
        shown = f"{label}'s supervised start" if start_of_another else label
        yield name, Series(shown, role, tuple(sorted(points)))


def _offsets(asked: Hyperparameters) -> dict[int, int]:
    """Return at which step of its kind each iteration begins: supervised steps are counted for themselves."""
    found, total = {}, {True: 0, False: 0}
    for number in asked.iterations:
        plan = asked.for_iteration(number)
        kind = plan.objective == "sft"
        found[number] = total[kind]
        total[kind] += plan.steps
    return found


def _bounds(asked: Hyperparameters, *, supervised: bool) -> tuple[tuple[float, str], ...]:
    if supervised or len(asked.iterations) == 1:
        return ()
    return tuple((float(at), f"{number}") for number, at in _offsets(asked).items() if number >= 1)


def cost(session: Session, job: Job, label: str, role: Role) -> Cost:
    """Return what a job took: from its start to its end, and by stage, from its units' own clocks."""
    spent = dict.fromkeys(STAGES, 0.0)
    columns = select(Unit.kind, Unit.started_at, Unit.finished_at).where(Unit.job_id == job.id)
    for kind, started, finished in session.execute(columns):
        if started is not None and finished is not None:
            spent[kind.value] += (finished - started).total_seconds()
    asked = hyperparameters_of(job.method)
    steps = sum(asked.for_iteration(number).steps for number in asked.iterations)
    took = (
        None
        if job.started_at is None or job.finished_at is None
        else (job.finished_at - job.started_at).total_seconds()
    )
    stages = tuple((stage, seconds) for stage, seconds in spent.items() if seconds > 0)
    return Cost(label, role, took, stages, steps, steps * asked.batch_size)
