"""A gang seen from its leader, who holds the unit's claim: gather the workers, start them, watch them.

The locks are job, unit, seats.
"""

import random
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from core.clock import database_now
from core.events import tell
from core.models import Attempt, GangSeat, Reason, SeatState, Unit, UnitState
from core.runs import seats
from core.runs.capabilities import Capabilities
from core.runs.claims import Claim, hold, unit_event
from core.runs.lifecycle import QUIETLY
from core.runs.seats import HELD, Start, of_gang, seats_of

SILENT = "it has been silent for longer than its lease"


@dataclass(frozen=True)
class Unmet:
    """The gang does not come together: its unit is to be given back, for ``wait`` seconds at least."""

    why: str
    wait: float


@dataclass(frozen=True)
class Fault:
    """A worker with which the gang ends: ``preempted`` when it stopped, as it was asked to."""

    worker: str
    reason: Reason
    message: str


def gather(
    session: Session, claim: Claim, *, has: Capabilities, seconds: float, now: datetime | None = None
) -> Unmet | bool:
    """Look at who has come: True when all are ready, False while the leader may wait.

    Of several gangs that lack workers all but the first give way, whose seats their leaders can take; what
    a leader may not join it waits for, but for no more than ``seconds``.

    Args:
        session: an open transaction.
        claim: of the leader.
        has: what the leader has.
        seconds: how long a seat may stay open.
        now: what the time is taken to be, in place of the database's clock.
    """
    seats.reopen_silent(session, unit_id=claim.unit_id, fence=claim.fence, now=now)
    found = seats_of(session, claim.unit_id, claim.fence)[1:]
    missing = [seat for seat in found if seat.state is SeatState.open]
    if not missing:
        return all(seat.state is SeatState.ready for seat in found)
    first = seats.first_open(session, worker=claim.worker, has=has, now=now)
    if first is not None and first.unit_id != claim.unit_id:
        return Unmet(f"its worker joins {first.unit_id}, which came first", 0.0)
    too_long = select(GangSeat.rank).where(
        of_gang(claim.unit_id, claim.fence),
        GangSeat.state == SeatState.open,
        GangSeat.opened_at <= database_now(plus=-seconds, now=now),
    )
    if session.scalar(too_long.limit(1)) is None:
        return False
    here = claim.nodes - len(missing)
    why = f"within {seconds:g} s only {here} of {claim.nodes} workers with --nodes {claim.nodes} came"
    # Not all at once: two leaders who waited for each other are not to meet again.
    return Unmet(why, seconds * random.uniform(0.25, 0.5))


def start(
    session: Session, claim: Claim, *, address: str, port: int, processes: int, now: datetime | None = None
) -> Start | None:
    """Let all processes of a gang start, in one statement; None when one who was ready is so no more.

    Args:
        session: an open transaction.
        claim: of the leader.
        address: where its processes are reached.
        port: likewise.
        processes: how many they are.
        now: what the time is taken to be, in place of the database's clock.

    Raises:
        StaleFence: the claim is lost; nothing may be committed.
    """
    job = hold(session, claim)
    point = session.begin_nested()
    gang = of_gang(claim.unit_id, claim.fence)
    met = session.execute(
        update(GangSeat)
        .where(
            gang,
            GangSeat.rank > 0,
            GangSeat.met_at.is_(None),
            GangSeat.state == SeatState.ready,
            GangSeat.lease_expires_at > database_now(now=now),
        )
        .values(met_at=database_now(now=now))
        .returning(GangSeat.rank)
        .execution_options(**QUIETLY)
    ).all()
    if len(met) != claim.nodes - 1:
        point.rollback()
        return None
    session.execute(
        update(GangSeat)
        .where(gang, GangSeat.rank == 0)
        .values(
            state=SeatState.ready,
            met_at=database_now(now=now),
            address=address,
            port=port,
            processes=processes,
        )
        .execution_options(**QUIETLY)
    )
    point.commit()
    found = seats_of(session, claim.unit_id, claim.fence)
    session.execute(
        update(Attempt)
        .where(Attempt.unit_id == claim.unit_id, Attempt.fence == claim.fence)
        .values(gpus=sum(seat.gpus for seat in found))
        .execution_options(**QUIETLY)
    )
    assert job is not None, "only units of jobs have gangs"
    names = [seat.worker for seat in found]
    what = f"{claim.nodes} workers train together: {', '.join(filter(None, names))}"
    tell(session, job.id, [unit_event(claim, UnitState.running.value, what, gang=names)])
    return seats.start_among(found, 0)


def fault(session: Session, claim: Claim, *, now: datetime | None = None) -> Fault | None:
    """Return what ends the gang, if anything does: a failure before a loss, a loss before a stop."""
    silent = select(GangSeat.rank).where(
        of_gang(claim.unit_id, claim.fence),
        GangSeat.state.in_(HELD),
        GangSeat.rank > 0,
        GangSeat.met_at.is_not(None),
        GangSeat.lease_expires_at < database_now(now=now),
    )
    lost = set(session.scalars(silent))
    found = []
    for seat in seats_of(session, claim.unit_id, claim.fence):
        worker, failure = seat.worker or "", seat.failure or {}
        if seat.state is SeatState.failed:
            reason = Reason(failure["reason"])
            grave = 1 if reason is Reason.worker_lost else 0  # whoever lost another failed for its sake
            found.append((grave, Fault(worker, reason, f"{worker}: {failure['message']}")))
        elif seat.rank in lost:
            found.append((2, Fault(worker, Reason.worker_lost, f"{worker} was lost: {SILENT}")))
        elif seat.state is SeatState.stopped:
            found.append((3, Fault(worker, Reason.preempted, f"{worker} was asked to stop")))
    return min(found, key=lambda each: each[0])[1] if found else None


def members(session: Session, unit_ids: list[str]) -> dict[str, list[str]]:
    """Return who trains units together now, the leader first; units of one worker alone are left out."""
    rows = session.execute(
        select(GangSeat.unit_id, GangSeat.worker)
        .join(Unit, seats.counts())
        .where(GangSeat.unit_id.in_(unit_ids), GangSeat.worker.is_not(None))
        .order_by(GangSeat.unit_id, GangSeat.rank)
    )
    found: dict[str, list[str]] = {}
    for unit_id, worker in rows:
        found.setdefault(unit_id, []).append(str(worker))
    return found
