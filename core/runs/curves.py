"""A job's numbers as curves: few enough points to be drawn, however long it runs."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import and_, literal, select
from sqlalchemy.orm import Session

from core.models import Job, Metric
from core.runs.records import EVALUATION_STEP

MOST_READ = 20_000
WINDOW = 40
"""Numbers that are read in a row where not all are read: a step tells about twenty."""


@dataclass(frozen=True)
class Point:
    """Some consecutive steps: the last of them, and the mean, lowest and highest of what was measured."""

    step: int
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Curve:
    """One number over the steps of one iteration."""

    name: str
    iteration: int
    points: tuple[Point, ...]


def curves(session: Session, job: Job, *, names: Sequence[str] | None = None, points: int) -> list[Curve]:
    """Return each number of a job that was measured in training, by name and iteration.

    Of very many numbers windows at even distances are read, so that it takes as long for any job.

    Args:
        session: an open transaction.
        job: whose.
        names: only these; None: all.
        points: how many at most a curve.
    """
    columns = select(Metric.name, Metric.iteration, Metric.step, Metric.value)
    statement = columns.where(Metric.job_id == job.id, Metric.step > EVALUATION_STEP)
    if job.metric_seq > MOST_READ:
        stride = WINDOW * job.metric_seq // MOST_READ
        first = select(literal(0).label("seq")).cte("window_start", recursive=True)
        starts = first.union_all(select(first.c.seq + stride).where(first.c.seq + stride < job.metric_seq))
        inside = and_(Metric.seq > starts.c.seq, Metric.seq <= starts.c.seq + WINDOW)
        statement = statement.join(starts, inside)
    if names is not None:
        statement = statement.where(Metric.name.in_(names))
    found: dict[tuple[str, int], list[tuple[int, float]]] = defaultdict(list)
    for name, iteration, step, value in session.execute(statement):
        found[name, iteration].append((step, value))
    return [
        Curve(name, iteration, thinned(sorted(values), most=points))
        for (name, iteration), values in sorted(found.items())
    ]


def thinned(values: Sequence[tuple[int, float]], *, most: int) -> tuple[Point, ...]:
    """Return at most ``most`` points, each of as many values. By hand: 1, 3, 5, 5 in two are 2 and 5."""
    size = max(1, -(-len(values) // most))
    groups = [values[start : start + size] for start in range(0, len(values), size)]
    return tuple(
        Point(
            step=group[-1][0],
            value=sum(value for _, value in group) / len(group),
            low=min(value for _, value in group),
            high=max(value for _, value in group),
        )
        for group in groups
    )
