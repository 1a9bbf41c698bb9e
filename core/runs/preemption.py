"""Trainings that make way: for a unit of a job of higher priority that finds no idle worker of its pool.

The beat marks the unit that is to yield; its worker sees that as a wish, stops it at a checkpoint and gives
it back, which costs no attempt. Nothing makes way for its own priority, so two jobs never take turns.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import Session, aliased

from core import workers
from core.db import settings_of
from core.models import GangSeat, SeatState, Unit, UnitKind, UnitState
from core.runs import gangs, seats
from core.runs.candidates import Claimer, first_units
from core.runs.capabilities import ASIDE, Capabilities, Need, Node, fits
from core.runs.lifecycle import QUIETLY

OF_JOBS = tuple(kind for kind in UnitKind if kind not in ASIDE)


@dataclass(frozen=True)
class Waiting:
    """A unit that could be claimed."""

    job_id: str
    priority: int
    need: Need


@dataclass(frozen=True)
class Running:
    """A unit that a worker has."""

    unit_id: str
    fence: int
    kind: UnitKind
    priority: int
    worker: str
    yields: bool


def who_yields(
    waiting: Sequence[Waiting], running: Sequence[Running], nodes: Sequence[Node]
) -> list[tuple[Running, Waiting]]:
    """Return which units should stop for which.

    Each waiting unit, of the highest priority first, takes an idle worker that could run it, else one that is
    being freed, else that of the training of the lowest priority below its own.
    """
    busy = {unit.worker: unit for unit in running}
    free = [node for node in nodes if node.name not in busy or busy[node.name].yields]
    found: list[tuple[Running, Waiting]] = []
    taken: set[str] = set()
    for unit in sorted(waiting, key=lambda unit: -unit.priority):
        at_hand = next((node for node in free if fits(unit.need, node)), None)
        if at_hand is not None:
            free.remove(at_hand)
            continue
        below = [
            busy[node.name]
            for node in nodes
            if node.name in busy and busy[node.name].unit_id not in taken and fits(unit.need, node)
        ]
        victims = [
            each
            for each in below
            if each.kind is UnitKind.train and each.priority < unit.priority and not each.yields
        ]
        if victims:
            victim = min(victims, key=lambda each: (each.priority, each.unit_id))
            taken.add(victim.unit_id)
            found.append((victim, unit))
    return found


def make_way(session: Session) -> int:
    """Mark the trainings that should stop for others; return how many."""
    if not settings_of(session).preemption:
        return 0
    lowest = session.scalar(
        select(func.min(Unit.priority)).where(Unit.state == UnitState.running, Unit.kind == UnitKind.train)
    )
    if lowest is None:
        return 0
    _call_off(session)
    nodes = workers.living(session)
    waiting = [unit for unit in _waiting(session, nodes) if unit.priority > lowest]
    found = who_yields(waiting, _running(session), nodes) if waiting else []
    for victim, unit in sorted(found, key=lambda pair: pair[0].unit_id):
        session.execute(
            update(Unit)
            .where(Unit.id == victim.unit_id, Unit.fence == victim.fence, Unit.state == UnitState.running)
            .values(yield_to=unit.job_id)
            .execution_options(**QUIETLY)
        )
    return len(found)


def _call_off(session: Session) -> None:
    """Let go on what was to make way for a job that waits no more: it found another worker, or has ended."""
    other = aliased(Unit)
    pending = select(other.id).where(other.job_id == Unit.yield_to, other.state == UnitState.pending).exists()
    waits = or_(pending, seats.lacks(Unit.yield_to))
    session.execute(
        update(Unit)
        .where(
            Unit.state == UnitState.running,
            Unit.yield_to.is_not(None),
            ~waits,
        )
        .values(yield_to=None)
        .execution_options(**QUIETLY)
    )


def _waiting(session: Session, nodes: Sequence[Node]) -> list[Waiting]:
    """Return each project's first claimable unit of a job, of each kind, in queues that somebody serves.

    And one open seat of each gang that lacks workers.
    """
    queues = sorted({queue for node in nodes for queue in node.has.queues})
    who = Claimer("", OF_JOBS, Capabilities(tuple(queues)))
    rows = first_units(session, who) if queues else []
    return [
        Waiting(row.job_id, -row.rank, Need(row.kind, row.queue, row.device, row.memory_bytes))
        for row in rows
    ] + _lacking(session)


def _lacking(session: Session) -> list[Waiting]:
    columns = (Unit.id, Unit.job_id, Unit.priority, Unit.queue, Unit.device, Unit.memory_bytes)
    lacking = select(*columns, GangSeat.nodes).join(GangSeat, seats.counts())
    rows = session.execute(lacking.where(GangSeat.state == SeatState.open).distinct())
    return [
        Waiting(
            row.job_id,
            row.priority,
            Need(UnitKind.train, row.queue, row.device, row.memory_bytes, row.nodes),
        )
        for row in rows
    ]


def _running(session: Session) -> list[Running]:
    """Return what workers have; a gang's unit once for each of its workers."""
    columns = (Unit.id, Unit.fence, Unit.kind, Unit.priority, Unit.worker, Unit.yield_to)
    rows = session.execute(select(*columns).where(Unit.state == UnitState.running)).all()
    together = gangs.members(session, [row.id for row in rows if row.kind is UnitKind.train])
    return [
        Running(row.id, row.fence, row.kind, row.priority, worker, row.yield_to is not None)
        for row in rows
        for worker in together.get(row.id, [row.worker or ""])
    ]
