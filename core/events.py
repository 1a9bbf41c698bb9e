"""What a job tells: events without a gap in their numbers, and measured numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert, update
from sqlalchemy.orm import Session

from core.clock import utcnow
from core.ids import new_id
from core.models import Event, Job, Level, Metric
from core.upsert import insert as upsert


@dataclass(frozen=True)
class NewEvent:
    """An event that is not written yet."""

    type: str
    message: str
    data: dict[str, Any] | None = None
    level: Level = Level.info


@dataclass(frozen=True)
class NewMetric:
    """A number that is not written yet."""

    iteration: int
    step: int
    name: str
    value: float


def tell(session: Session, job_id: str, events: Sequence[NewEvent]) -> None:
    """Append events to a job. Taking their numbers locks the job's row, so their order is that of commits."""
    if not events:
        return
    last = session.execute(
        update(Job)
        .where(Job.id == job_id)
        .values(event_seq=Job.event_seq + len(events))
        .returning(Job.event_seq)
        .execution_options(synchronize_session=False)
    ).scalar_one()
    now = utcnow()
    session.execute(
        insert(Event),
        [
            {
                "id": new_id("evt-"),
                "job_id": job_id,
                "seq": last - len(events) + index,
                "type": event.type,
                "level": event.level,
                "message": event.message,
                "data": event.data,
                "created_at": now,
            }
            for index, event in enumerate(events, start=1)
        ],
    )


def measure(session: Session, job_id: str, metrics: Sequence[NewMetric]) -> set[tuple[int, int]]:
    """Append numbers to a job and return the (iteration, step) of those that are new.

    After a resume some steps run again; what they measure is known already.
    """
    if not metrics:
        return set()
    last = session.execute(
        update(Job)
        .where(Job.id == job_id)
        .values(metric_seq=Job.metric_seq + len(metrics))
        .returning(Job.metric_seq)
        .execution_options(synchronize_session=False)
    ).scalar_one()
    rows = [
        {
            "job_id": job_id,
            "seq": last - len(metrics) + index,
            "iteration": metric.iteration,
            "step": metric.step,
            "name": metric.name,
            "value": metric.value,
        }
        for index, metric in enumerate(metrics, start=1)
    ]
    written = session.execute(
        upsert(session, Metric).values(rows).on_conflict_do_nothing().returning(Metric.iteration, Metric.step)
    )
    return {(iteration, step) for iteration, step in written}
