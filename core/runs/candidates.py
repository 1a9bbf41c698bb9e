"""Which unit a worker claims next: highest priority, least served project, oldest job, earliest in its plan.

Each project's first claimable unit of a kind is one look into an index that has the order of claims (state,
project, queue, kind, rank, job, position); of these few the fairest is taken. Projects cost, units do not.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
    Row,
    Select,
    and_,
    bindparam,
    func,
    literal,
    or_,
    select,
    true,
    union_all,
    update,
)
from sqlalchemy.orm import Session, aliased

from core.clock import UtcDateTime, database_now
from core.models import JOB_ACTIVE, Dataset, Device, Job, Project, Unit, UnitKind, UnitState
from core.runs.capabilities import Capabilities
from core.runs.shares import NEVER_SERVED

ANYTHING = Capabilities()


@dataclass(frozen=True)
class Claimer:
    """Who claims: its name, the kinds it does, and what it has."""

    worker: str
    kinds: Sequence[UnitKind] = tuple(UnitKind)
    has: Capabilities = ANYTHING


def wanted(job: Any = Job) -> ColumnElement[bool]:
    """Return SQL for: a job's units may run."""
    return and_(job.state.in_(JOB_ACTIVE), ~job.pause_requested, ~job.cancel_requested)


def next_units(
    session: Session, who: Claimer, *, skip: int = 0, now: datetime | None = None
) -> list[Row[Any]]:
    """Return id, job_id, project_id and max_running of the unit to claim, and of those to claim instead.

    The others are of the same rank, of the projects whose turn is next: whoever finds the first in another's
    hands is not to fall back to work of lower priority for that.

    Args:
        session: an open transaction.
        who: for whom.
        skip: how many of the first units to leave to others, who are claiming them just now.
        now: what the time is taken to be, in place of the database's clock.
    """
    found = sorted(first_units(session, who, skip=skip, now=now), key=_turn)
    return [unit for unit in found if unit.rank == found[0].rank]


def _turn(unit: Row[Any]) -> tuple[Any, ...]:
    return (unit.rank, unit.running, unit.share, unit.job_id or "", unit.position, unit.id)


def first_units(
    session: Session, who: Claimer, *, skip: int = 0, now: datetime | None = None
) -> Sequence[Row[Any]]:
    """Return the first claimable unit of each project, queue and kind."""
    has = who.has
    statement = _statement(
        kinds=tuple(who.kinds),
        queues=has.queues,
        cpu_only=has.device is Device.cpu,
        bounded=has.memory_bytes is not None,
        clocked=now is not None,
    )
    given = {"worker": who.worker, "memory_bytes": has.memory_bytes, "now": now, "skip": skip}
    return session.execute(statement, given).all()


@lru_cache(maxsize=32)
def _statement(
    *, kinds: tuple[UnitKind, ...], queues: tuple[str, ...], cpu_only: bool, bounded: bool, clocked: bool
) -> Select[*tuple[Any, ...]]:
    """Return the query for one kind of worker: putting it together takes longer than running it."""
    unit, job, held = aliased(Unit), aliased(Job), aliased(Unit)
    lane = union_all(
        *(
            select(literal(kind.value).label("kind"), literal(queue).label("queue"))
            for kind in kinds
            for queue in queues
        )
    ).subquery("lane")
    now = bindparam("now", type_=UtcDateTime()) if clocked else database_now()
    terms = [
        *may_begin(unit, job, now),
        or_(unit.avoid.is_(None), unit.avoid != bindparam("worker"), unit.avoid_until <= now),
    ]
    if cpu_only:
        terms.append(unit.device == Device.cpu)
    if bounded:
        terms.append(unit.memory_bytes <= bindparam("memory_bytes", type_=BigInteger()))
    first = (
        select(unit.id)
        .outerjoin(job, job.id == unit.job_id)
        .where(
            unit.state == UnitState.pending,
            unit.project_id == Project.id,
            unit.queue == lane.c.queue,
            unit.kind == lane.c.kind,
            *terms,
        )
        .order_by(unit.rank, unit.job_id, unit.position, unit.id)
        .limit(1)
        .offset(bindparam("skip", type_=Integer()))
        .correlate(Project, lane)
        .scalar_subquery()
    )
    running = (
        select(func.count())
        .where(held.state == UnitState.running, held.project_id == Project.id)
        .correlate(Project)
        .scalar_subquery()
    )
    # Apart, so that PostgreSQL looks these few up by their ids instead of reading all units for a join.
    heads = select(Project.id, first.label("first")).join(lane, true()).cte("heads")
    columns = (Unit.id, Unit.job_id, Unit.project_id, Unit.rank, Unit.kind, Unit.queue, Unit.position)
    needs = (Unit.device, Unit.memory_bytes, Unit.content_key)
    share = func.coalesce(Project.share, NEVER_SERVED).label("share")
    return (
        select(*columns, *needs, Project.max_running, running.label("running"), share)
        .select_from(heads)
        .join(Unit, Unit.id == heads.c.first)
        .join(Project, Project.id == heads.c.id)
        .where(or_(Project.max_running.is_(None), running < Project.max_running))
    )


def may_begin(unit: Any, job: Any, now: ColumnElement[datetime]) -> list[ColumnElement[bool]]:
    """Return SQL for: a pending unit may be taken now, by some worker that has what it needs."""
    twin = aliased(Unit)
    being_made = (
        select(twin.id)
        .where(
            twin.content_key == unit.content_key,
            twin.state == UnitState.running,
            twin.lease_expires_at > now,
        )
        .exists()
    )
    return [
        or_(unit.not_before.is_(None), unit.not_before <= now),
        or_(unit.job_id.is_(None), wanted(job)),
        or_(unit.content_key.is_(None), ~being_made),
    ]


def adopt(session: Session) -> int:
    """Give the units that older code wrote the place among the others that it did not know of."""
    of_job = select(Job.project_id).where(Job.id == Unit.job_id).scalar_subquery()
    of_dataset = select(Dataset.project_id).where(Dataset.id == Unit.dataset_id).scalar_subquery()
    adopted = session.execute(
        update(Unit)
        .where(Unit.state == UnitState.pending, Unit.project_id.is_(None))
        .values(project_id=func.coalesce(of_job, of_dataset), rank=-Unit.priority)
        .returning(Unit.id)
        .execution_options(synchronize_session=False)
    )
    return len(adopted.all())
