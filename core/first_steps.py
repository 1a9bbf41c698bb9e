"""What somebody who has just begun still has to do: bring pictures, start a job, draw."""

from dataclasses import dataclass

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from core.models import AuditEntry, Dataset, DatasetState, Drawing, Job

AT_HOME = 4
"""Whoever has made so many jobs needs no more hints."""
DRAWS = "/v1/images/generations"


@dataclass(frozen=True)
class FirstSteps:
    """Which of them are done."""

    dataset: bool
    job: bool
    drawing: bool


def first_steps(session: Session, *, project_id: str) -> FirstSteps | None:
    """Return how far a project is; None when it is done with them."""
    jobs = session.scalars(select(Job.id).where(Job.project_id == project_id).limit(AT_HOME)).all()
    if len(jobs) == AT_HOME:
        return None
    ready = select(Dataset.id).where(Dataset.project_id == project_id, Dataset.state == DatasetState.ready)
    drawn = select(Drawing.id).where(Drawing.project_id == project_id)
    # Drawings are kept for a day, but that somebody drew is remembered.
    asked = select(AuditEntry.id).where(AuditEntry.project_id == project_id, AuditEntry.route == DRAWS)
    found = FirstSteps(
        dataset=_any(session, ready), job=bool(jobs), drawing=_any(session, drawn) or _any(session, asked)
    )
    return None if found == FirstSteps(dataset=True, job=True, drawing=True) else found


def _any(session: Session, statement: Select[str]) -> bool:
    return session.scalar(statement.limit(1)) is not None
