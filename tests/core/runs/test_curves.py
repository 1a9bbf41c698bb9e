"""Curves of few points, however many numbers a job has measured."""

import pytest
from sqlalchemy import insert, update

from core.db import Database, transaction
from core.models import Job, Metric
from core.runs import curves as module
from core.runs.curves import Point, curves, thinned
from tests.core.runs.making import job_of, make_job, ready_dataset

NAMES = ("loss", "margin")


def measured(database: Database, job_id: str, *, steps: int) -> None:
    """Write two numbers a step."""
    rows = [
        {
            "job_id": job_id,
            "seq": 2 * step + place,
            "iteration": 1,
            "step": step + 1,
            "name": name,
            "value": float(step) if name == "loss" else 0.0,
        }
        for step in range(steps)
        for place, name in enumerate(NAMES, start=1)
    ]
    with transaction(database) as session:
        session.execute(insert(Metric), rows)
        session.execute(update(Job).where(Job.id == job_id).values(metric_seq=len(rows)))


def test_points_stand_for_equally_many_values() -> None:
    values = [(1, 1.0), (2, 3.0), (3, 5.0), (4, 5.0)]
    assert thinned(values, most=2) == (Point(2, 2.0, 1.0, 3.0), Point(4, 5.0, 5.0, 5.0))
    assert thinned(values, most=4)[0] == Point(1, 1.0, 1.0, 1.0)
    assert thinned(values, most=3) == thinned(values, most=2)
    assert thinned([], most=2) == ()


def test_all_of_few_numbers_are_read(database: Database) -> None:
    job_id = make_job(database, ready_dataset(database))
    measured(database, job_id, steps=100)
    with transaction(database) as session:
        loss, margin = curves(session, job_of(database, job_id), points=50)
    assert (loss.name, loss.iteration, margin.name) == ("loss", 1, "margin")
    assert loss.points[0] == Point(2, 0.5, 0.0, 1.0)
    assert (len(loss.points), loss.points[-1].step) == (50, 100)


def test_windows_of_very_many_are_read(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_READ", 1000)
    job_id = make_job(database, ready_dataset(database))
    measured(database, job_id, steps=5000)
    with transaction(database) as session:
        [loss] = curves(session, job_of(database, job_id), names=["loss"], points=50)
    assert 45 <= len(loss.points) <= 50
    assert loss.points[-1].step >= 4800
    # a window has 20 steps of 200: a point is of a few windows' steps at most
    assert all(0 <= point.step - point.value < 220 for point in loss.points)
    assert sum(point.high - point.low for point in loss.points) < 5000
