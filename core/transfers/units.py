"""The one unit of an export or an import: begun here, ended by what became of it."""

from sqlalchemy import update
from sqlalchemy.orm import Session

from core import outbox
from core.ids import new_id
from core.models import Project, Unit, UnitKind, UnitState
from core.queue import RUN_UNIT
from core.runs.lifecycle import QUIETLY

BEFORE_ALL_JOBS = 1000


def take_turns(session: Session, project_id: str) -> None:
    """Let those who ask for a project's transfers go one after the other: none is made twice."""
    session.execute(
        update(Project).where(Project.id == project_id).values(name=Project.name).execution_options(**QUIETLY)
    )


def begin(session: Session, *, project_id: str, transfer_id: str, kind: UnitKind) -> Unit:
    """Let a worker do a transfer."""
    unit = Unit(
        id=new_id("unit-"),
        transfer_id=transfer_id,
        kind=kind,
        priority=BEFORE_ALL_JOBS,
        project_id=project_id,
        state=UnitState.pending,
        needs=[],
    )
    session.add(unit)
    session.flush()
    outbox.enqueue(session, task=RUN_UNIT[kind], payload=unit.id)
    return unit
