"""Units that wait for nothing but a worker: how many, for how long, and for which none lives."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from core import workers
from core.clock import database_now
from core.models import Job, Project, Unit, UnitKind, UnitState
from core.runs.candidates import may_begin
from core.runs.capabilities import Need, waits_for

SINCE = func.coalesce(Unit.pending_at, Unit.created_at)
READY_SINCE = case((Unit.not_before > SINCE, Unit.not_before), else_=SINCE)


@dataclass
class Backlog:
    """The units of one kind and queue that wait for nothing but a worker."""

    ready: int = 0
    seconds: float = 0.0
    """Since the first of them has been ready."""
    without_worker: int = 0
    """Of them, those that no worker that lives could run, nor a gang that is complete."""


def backlog(session: Session) -> dict[tuple[str, UnitKind], Backlog]:
    """Return what waits, by queue and kind.

    Not among it is what waits for something else: a paused job, a delay after a failure, a twin that makes
    the same, a project that runs as much as it may.
    """
    now = database_now()
    rows = session.execute(
        select(
            Unit.queue,
            Unit.kind,
            Unit.device,
            Unit.memory_bytes,
            Unit.project_id,
            func.count().label("number"),
            func.min(READY_SINCE).label("oldest"),
        )
        .outerjoin(Job, Job.id == Unit.job_id)
        .where(Unit.state == UnitState.pending, *may_begin(Unit, Job, now))
        .group_by(Unit.queue, Unit.kind, Unit.device, Unit.memory_bytes, Unit.project_id)
    ).all()
    found: dict[tuple[str, UnitKind], Backlog] = defaultdict(Backlog)
    if not rows:
        return found
    at = session.scalar(select(now))
    assert at is not None
    full, nodes = _full(session), workers.living(session, within=workers.SEEN_SECONDS)
    for row in rows:
        if row.project_id in full:
            continue
        need = Need(row.kind, row.queue, row.device, row.memory_bytes)
        waiting = found[row.queue, row.kind]
        waiting.ready += row.number
        waiting.seconds = max(waiting.seconds, age(row.oldest, at))
        if waits_for([need], nodes) is not None:
            waiting.without_worker += row.number
    return found


def age(since: datetime, now: datetime) -> float:
    """Return the seconds from one time of the database to another; not less than nothing."""
    since = since if since.tzinfo else since.replace(tzinfo=UTC)
    return max(0.0, (now.astimezone(UTC) - since).total_seconds())


def _full(session: Session) -> set[str]:
    """Return the projects that run as many units as they may."""
    count = select(Unit.project_id, func.count()).where(Unit.state == UnitState.running)
    running = {row[0]: row[1] for row in session.execute(count.group_by(Unit.project_id))}
    limits = select(Project.id, Project.max_running).where(Project.max_running.is_not(None))
    return {project for project, most in session.execute(limits) if running.get(project, 0) >= (most or 0)}
