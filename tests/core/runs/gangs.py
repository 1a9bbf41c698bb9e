"""Trainings that wait for workers, and what leaders and members do, each in its own transaction."""

from datetime import datetime
from typing import Any

from sqlalchemy import select

from core.db import Database, transaction
from core.models import Unit, UnitKind
from core.runs import claims, gangs, seats
from core.runs.capabilities import Capabilities
from core.runs.claims import Claim
from core.runs.gangs import Unmet
from core.runs.seats import Seat, Start
from tests.core.runs.making import LEASE, after, make_job, succeed

TRAIN = (UnitKind.train,)
REST = tuple(kind for kind in UnitKind if kind is not UnitKind.train)
PATIENCE = 60.0


def trainings(database: Database, dataset_id: str, number: int = 1, **values: Any) -> list[str]:
    """Make jobs, and do all that comes before their trainings; return the ids of these units."""
    made = [
        make_job(database, dataset_id, kind="sft", hyperparameters={"steps": 4}, **values)
        for _ in range(number)
    ]
    finish_the_rest(database, after(0))
    with transaction(database) as session:
        found = select(Unit.id).where(Unit.job_id.in_(made), Unit.kind == UnitKind.train)
        return list(session.scalars(found.order_by(Unit.job_id)))


def finish_the_rest(database: Database, now: datetime) -> None:
    """Claim and finish everything that is no training."""
    while True:
        with transaction(database) as session:
            claim = claims.claim_unit(session, worker="other", lease_seconds=LEASE, kinds=REST, now=now)
        if claim is None:
            return
        succeed(database, claim)


def lead(database: Database, worker: str, *, nodes: int = 2, now: float = 0, gpus: int = 0) -> Claim | None:
    has = Capabilities(nodes=nodes, gpus=gpus)
    with transaction(database) as session:
        return claims.claim_unit(
            session, worker=worker, lease_seconds=LEASE, kinds=TRAIN, has=has, now=after(now)
        )


def sit(database: Database, worker: str, *, nodes: int = 2, now: float = 0) -> Seat | None:
    with transaction(database) as session:
        return seats.take(
            session, worker=worker, has=Capabilities(nodes=nodes), lease_seconds=LEASE, now=after(now)
        )


def gather(database: Database, claim: Claim, *, now: float = 0) -> Unmet | bool:
    has = Capabilities(nodes=claim.nodes)
    with transaction(database) as session:
        return gangs.gather(session, claim, has=has, seconds=PATIENCE, now=after(now))


def be_ready(database: Database, seat: Seat, *, processes: int = 1, gpus: int = 0) -> bool:
    with transaction(database) as session:
        return seats.ready(session, seat, processes=processes, gpus=gpus)


def begin(database: Database, claim: Claim, *, processes: int = 1, now: float = 0) -> Start | None:
    with transaction(database) as session:
        return gangs.start(
            session, claim, address="10.0.0.1", port=29500, processes=processes, now=after(now)
        )


def met(database: Database, unit_id: str, *, now: float = 0) -> tuple[Claim, Seat]:
    """Let two workers train a unit together."""
    claim, seat = lead(database, "a", now=now), sit(database, "b", now=now)
    assert claim is not None
    assert seat is not None
    assert claim.unit_id == seat.unit_id == unit_id
    assert be_ready(database, seat)
    assert begin(database, claim, now=now) is not None
    return claim, seat


def fault(database: Database, claim: Claim, *, now: float = 0) -> gangs.Fault | None:
    with transaction(database) as session:
        return gangs.fault(session, claim, now=after(now))


def the_unit(database: Database, unit_id: str) -> Unit:
    with transaction(database) as session:
        return session.get_one(Unit, unit_id)
