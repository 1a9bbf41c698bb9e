"""A worker's hold on a seat of a gang: taken in one statement, kept by its lease, proven by its turn.

A seat counts only while the unit runs under the fence of the claim that opened it. So when the claim ends,
however it ends, all its seats are free at once, and nothing has to be undone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, case, delete, literal, or_, select, update
from sqlalchemy.orm import Session, aliased

from core.clock import database_now
from core.errors import StaleFence
from core.models import Device, GangSeat, Job, Reason, SeatState, Unit, UnitState
from core.runs.candidates import wanted
from core.runs.capabilities import Capabilities
from core.runs.lifecycle import QUIETLY
from core.sources import Work, work_for

TRIES = 16
HELD = (SeatState.taken, SeatState.ready)


@dataclass(frozen=True)
class Seat:
    """Proof that a worker holds a seat. Every write of the worker carries it."""

    unit_id: str
    fence: int
    rank: int
    nodes: int
    turn: int
    worker: str
    job_id: str | None
    iteration: int


@dataclass(frozen=True)
class Start:
    """How a node of a gang starts its processes.

    Attributes:
        address: where all processes meet.
        port: likewise.
        first: the rank of this node's first process.
        world: how many processes there are in all.
    """

    address: str
    port: int
    first: int
    world: int


def of_gang(unit_id: str, fence: int) -> ColumnElement[bool]:
    """Return SQL for: a seat is of the gang that a claim opened."""
    return and_(GangSeat.unit_id == unit_id, GangSeat.fence == fence)


def counts(seat: Any = GangSeat, unit: Any = Unit) -> ColumnElement[bool]:
    """Return SQL for: a seat's claim holds its unit still."""
    return and_(unit.id == seat.unit_id, unit.fence == seat.fence, unit.state == UnitState.running)


def open_seats(
    session: Session, *, unit_id: str, fence: int, nodes: int, worker: str, gpus: int, now: datetime | None
) -> None:
    """Open the seats of a unit that was just claimed; the first is the claimer's, held by its claim."""
    for rank in range(nodes):
        leads = rank == 0
        session.add(
            GangSeat(
                unit_id=unit_id,
                fence=fence,
                rank=rank,
                nodes=nodes,
                state=SeatState.taken if leads else SeatState.open,
                worker=worker if leads else None,
                gpus=gpus if leads else 0,
                began_at=database_now(now=now),
                opened_at=database_now(now=now),
            )
        )


def first_open(
    session: Session, *, worker: str, has: Capabilities, now: datetime | None = None
) -> Row[str, int, int, int, str | None, int] | None:
    """Return the open seat that a worker takes next: highest priority, then oldest gang.

    All workers that fit agree on this order. So of several gangs that lack workers one is the first, and the
    leaders of the others can take its seats.
    """
    at = database_now(now=now)
    terms = [] if has.device is Device.gpu else [Unit.device == Device.cpu]
    if has.memory_bytes is not None:
        terms.append(Unit.memory_bytes <= has.memory_bytes)
    return session.execute(
        select(GangSeat.unit_id, GangSeat.fence, GangSeat.rank, GangSeat.nodes, Unit.job_id, Unit.iteration)
        .join(Unit, counts())
        .join(Job, Job.id == Unit.job_id)
        .where(
            GangSeat.state == SeatState.open,
            GangSeat.nodes == has.nodes,
            Unit.queue.in_(has.queues),
            Unit.lease_expires_at > at,
            or_(Unit.avoid.is_(None), Unit.avoid != worker, Unit.avoid_until <= at),
            wanted(),
            *terms,
        )
        .order_by(Unit.rank, GangSeat.began_at, GangSeat.unit_id, GangSeat.rank)
        .limit(1)
    ).first()


def take(
    session: Session, *, worker: str, has: Capabilities, lease_seconds: float, now: datetime | None = None
) -> Seat | None:
    """Take the next open seat for a worker; None when there is none for it."""
    if has.nodes == 1:
        return None
    for _ in range(TRIES):
        found = first_open(session, worker=worker, has=has, now=now)
        if found is None:
            return None
        turn = session.scalar(
            update(GangSeat)
            .where(
                of_gang(found.unit_id, found.fence),
                GangSeat.rank == found.rank,
                GangSeat.state == SeatState.open,
            )
            .values(
                state=SeatState.taken,
                worker=worker,
                turn=GangSeat.turn + 1,
                lease_expires_at=database_now(plus=lease_seconds, now=now),
            )
            .returning(GangSeat.turn)
            .execution_options(**QUIETLY)
        )
        if turn is not None:
            return Seat(
                found.unit_id,
                found.fence,
                found.rank,
                found.nodes,
                turn,
                worker,
                found.job_id,
                found.iteration,
            )
    return None


def _write(session: Session, seat: Seat, **values: Any) -> bool:
    """Change a seat that is still its holder's, in a gang that still stands; tell whether it was so."""
    stands = select(Unit.id).where(
        Unit.id == seat.unit_id, Unit.fence == seat.fence, Unit.state == UnitState.running
    )
    found = session.scalar(
        update(GangSeat)
        .where(
            of_gang(seat.unit_id, seat.fence),
            GangSeat.rank == seat.rank,
            GangSeat.turn == seat.turn,
            GangSeat.worker == seat.worker,
            GangSeat.state.in_(HELD),
            stands.exists(),
        )
        .values(**values)
        .returning(GangSeat.rank)
        .execution_options(**QUIETLY)
    )
    return found is not None


def renew(session: Session, seat: Seat, *, lease_seconds: float, now: datetime | None = None) -> bool:
    """Extend the lease of a seat; False when it is no longer its holder's, whose work must stop."""
    return _write(session, seat, lease_expires_at=database_now(plus=lease_seconds, now=now))


def holds(session: Session, seat: Seat) -> bool:
    """Tell whether a seat is still its holder's, in a gang that stands."""
    found = select(GangSeat.rank).join(Unit, counts())
    found = found.where(
        of_gang(seat.unit_id, seat.fence),
        GangSeat.rank == seat.rank,
        GangSeat.turn == seat.turn,
        GangSeat.worker == seat.worker,
        GangSeat.state.in_(HELD),
    )
    return session.scalar(found) is not None


def work_of(session: Session, seat: Seat) -> Work:
    """Return what the gang works with.

    It is the same for all seats: nothing that a training reads changes under one fence before its processes
    have met, for only they can write a checkpoint.

    Raises:
        StaleFence: the seat is lost.
    """
    if not holds(session, seat):
        raise StaleFence(f"{seat.unit_id}: seat {seat.rank} of {seat.worker} is stale")
    return work_for(session, unit_id=seat.unit_id)


def ready(session: Session, seat: Seat, *, processes: int, gpus: int) -> bool:
    """Note that a worker has all inputs and only waits for the others; False when the seat is lost."""
    return _write(session, seat, state=SeatState.ready, processes=processes, gpus=gpus)


def start_of(session: Session, seat: Seat) -> Start | None:
    """Return how a seat's processes start; None while not all are ready."""
    rows = seats_of(session, seat.unit_id, seat.fence)
    if not rows or rows[0].met_at is None:
        return None
    return start_among(rows, seat.rank)


def start_among(rows: Sequence[GangSeat], rank: int) -> Start:
    """Return how the processes of one seat start, given all seats of a gang that has met."""
    assert rows[0].address is not None
    assert rows[0].port is not None
    before = sum(row.processes for row in rows[:rank])
    return Start(rows[0].address, rows[0].port, before, sum(row.processes for row in rows))


def seats_of(session: Session, unit_id: str, fence: int) -> list[GangSeat]:
    """Return the seats of a gang by their ranks."""
    found = select(GangSeat).where(of_gang(unit_id, fence)).order_by(GangSeat.rank)
    return list(session.scalars(found.execution_options(populate_existing=True)))


def leave(session: Session, seat: Seat, *, done: bool = False, now: datetime | None = None) -> bool:
    """Give a seat back: open for another while the gang gathers, else ``stopped``, or ``done``."""
    met = GangSeat.met_at.is_not(None)
    ended = SeatState.done if done else SeatState.stopped
    return _write(session, seat, **_left(met, to=ended, now=now))


def fail(session: Session, seat: Seat, *, reason: Reason | str, message: str) -> bool:
    """Note why a seat's processes failed, for the leader to see; False when nobody waits for that."""
    failure = {"reason": Reason(reason).value, "message": message[:4000]}
    return _write(session, seat, state=SeatState.failed, failure=failure)


def _left(met: ColumnElement[bool], *, to: SeatState, now: datetime | None) -> dict[str, Any]:
    return {
        "state": case((met, literal(to, GangSeat.state.type)), else_=SeatState.open),
        "worker": case((met, GangSeat.worker), else_=None),
        "opened_at": case((met, GangSeat.opened_at), else_=database_now(now=now)),
        "lease_expires_at": None,
        "processes": case((met, GangSeat.processes), else_=0),
        "gpus": case((met, GangSeat.gpus), else_=0),
    }


def reopen_silent(session: Session, *, unit_id: str, fence: int, now: datetime | None = None) -> int:
    """Open the seats of workers that fell silent while the gang still gathers; return how many."""
    silent = (
        of_gang(unit_id, fence),
        GangSeat.met_at.is_(None),
        GangSeat.rank > 0,
        GangSeat.state.in_(HELD),
        GangSeat.lease_expires_at < database_now(now=now),
    )
    values = {"state": SeatState.open, "worker": None, "lease_expires_at": None, "processes": 0, "gpus": 0}
    found = session.execute(
        update(GangSeat)
        .where(*silent)
        .values(**values, opened_at=database_now(now=now))
        .returning(GangSeat.rank)
        .execution_options(**QUIETLY)
    )
    return len(found.all())


def give_back(session: Session, *, worker: str, now: datetime | None = None) -> int:
    """Free the seats of a worker that is known to be dead, or fail their gangs; return how many."""
    met = GangSeat.met_at.is_not(None)
    failure = {"reason": Reason.worker_lost.value, "message": "the worker died"}
    found = session.execute(
        update(GangSeat)
        .where(GangSeat.worker == worker, GangSeat.rank > 0, GangSeat.state.in_(HELD))
        .values(**_left(met, to=SeatState.failed, now=now), failure=failure)
        .returning(GangSeat.rank)
        .execution_options(**QUIETLY)
    )
    return len(found.all())


def held_by(session: Session) -> set[str]:
    """Return the workers that hold a seat of a gang that stands."""
    found = select(GangSeat.worker).join(Unit, counts()).where(GangSeat.worker.is_not(None))
    return {worker for worker in session.scalars(found) if worker is not None}


def lacks(job_id: Any) -> ColumnElement[bool]:
    """Return SQL for: a gang of a job has an open seat."""
    seat, unit = aliased(GangSeat), aliased(Unit)
    open_one = select(seat.unit_id).join(unit, counts(seat, unit))
    return open_one.where(unit.job_id == job_id, seat.state == SeatState.open).exists()


def sweep(session: Session) -> int:
    """Forget the seats of gangs that are over; return how many."""
    stands = select(Unit.id).where(counts()).exists()
    gone = session.execute(
        delete(GangSeat).where(~stands).returning(GangSeat.rank).execution_options(**QUIETLY)
    )
    return len(gone.all())
