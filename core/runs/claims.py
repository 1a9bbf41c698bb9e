"""A worker's hold on a unit: taken in one statement, kept by renewing the lease, proven by the fence.

The order of locks is everywhere: job, then unit.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Row, case, func, or_, select, true, update
from sqlalchemy.orm import Session, aliased

from core.clock import database_now, utcnow
from core.errors import StaleFence
from core.events import NewEvent, tell
from core.models import Attempt, Job, JobState, Project, Unit, UnitKind, UnitState
from core.runs import reaping, seats
from core.runs.candidates import ANYTHING, Claimer, first_units, next_units, wanted
from core.runs.capabilities import Capabilities
from core.runs.lifecycle import QUIETLY, lock, move, settle
from core.runs.places import prefix_of

TRIES = 16
ASIDE = 8  # tries that pass over a job whose row another holds; the later ones wait for it
INSTEAD = 8  # units that may be taken in place of the first
OTHER = aliased(Unit)  # made once: it costs as much as a query


@dataclass(frozen=True)
class Claim:
    """Proof that a worker holds a unit. Every write of the worker carries it.

    ``nodes`` is how many workers do it together: more than 1, and the worker leads a gang (core.runs.gangs).
    """

    unit_id: str
    job_id: str | None
    dataset_id: str | None
    kind: UnitKind
    iteration: int
    shard: int
    shards: int
    attempt: int
    fence: int
    worker: str
    transfer_id: str | None = None
    nodes: int = 1

    @property
    def prefix(self) -> str:
        """Where this attempt's objects go; no other attempt writes there."""
        return f"{prefix_of(self, self.unit_id)}/{self.fence}"


class Wish(StrEnum):
    """What a running unit should do."""

    go_on = "go_on"
    pause = "pause"  # write a checkpoint, stop, release(outcome="preempted")
    make_way = "make_way"  # the same, for a job of higher priority
    cancel = "cancel"  # stop now, release(outcome="cancelled")
    lost = "lost"  # stop now, write nothing: the unit is no longer ours


def claim_unit(
    session: Session,
    *,
    worker: str,
    lease_seconds: float,
    kinds: Sequence[UnitKind] = tuple(UnitKind),
    has: Capabilities = ANYTHING,
    now: datetime | None = None,
) -> Claim | None:
    """Take the next unit for a worker (core.runs.candidates says which).

    A unit whose content is made already is finished on the way, and one whose lease has expired is requeued.

    Args:
        session: an open transaction.
        worker: the claimer's name.
        lease_seconds: how long it may be silent.
        kinds: what it can do.
        has: what it has.
        now: what the time is taken to be, in place of the database's clock.
    """
    who = Claimer(worker, kinds, has)
    skip = 0
    for tries in range(1, TRIES + 1):
        found = next_units(session, who, skip=skip, now=now)
        if not found:
            if not skip and not reaping.reap(session, now=now):
                return None
            skip = 0
            continue
        # The locks go back if it comes to nothing: two who keep a job's and want the other's wait for ever.
        point = session.begin_nested()
        unit = _first_free(session, found[:INSTEAD], wait=tries > ASIDE)
        made = unit is not None and unit.content_key is not None and _made_already(session, unit)
        claim = None
        if unit is not None and not made:
            claim = _take(session, unit, who, lease_seconds=lease_seconds, now=now)
        if claim is not None or made:
            point.commit()
        else:
            point.rollback()
            skip = random.randrange(4 * tries)
        if claim is not None:
            return claim
    return None


def anything_pending(
    session: Session,
    *,
    worker: str = "",
    kinds: Sequence[UnitKind] = tuple(UnitKind),
    has: Capabilities = ANYTHING,
    now: datetime | None = None,
) -> bool:
    """Tell whether a worker could claim a unit now, or take a seat of a gang."""
    trains = has.nodes > 1 and UnitKind.train in kinds
    if trains and seats.first_open(session, worker=worker, has=has, now=now) is not None:
        return True
    return bool(first_units(session, Claimer(worker, kinds, has), now=now))


def _first_free(session: Session, found: Sequence[Row[Any]], *, wait: bool) -> Row[Any] | None:
    """Return the first of these units that is still to be had, its job locked.

    One whose job another holds is passed over, unless ``wait`` or there is no other: claimers in line for one
    job are idle meanwhile, but those who look again and again are in everybody's way. (SQLite's one writer
    holds every row.)
    """
    if found[0].job_id is None:
        return found[0]
    asked = [unit.id for unit in found if unit.job_id is not None][: 1 if wait else None]
    wait = wait or len(asked) == 1
    free = (
        select(Unit.id)
        .join(Job, Job.id == Unit.job_id)
        .where(Unit.id.in_(asked), Unit.state == UnitState.pending, wanted())
        .order_by(case({unit_id: place for place, unit_id in enumerate(asked)}, value=Unit.id))
        .limit(1)
        .with_for_update(of=Job, skip_locked=not wait)
    )
    unit_id = session.scalar(free)
    return next((unit for unit in found if unit.id == unit_id), None)


def _take(
    session: Session, found: Row[Any], who: Claimer, *, lease_seconds: float, now: datetime | None
) -> Claim | None:
    """Take one unit, unless another was first; the locks are job (held already), project, unit."""
    unit_id, job_id = found.id, found.job_id
    still = [Unit.id == unit_id, Unit.state == UnitState.pending]
    if found.max_running is not None:
        still.append(_below(session, found.project_id))
    row: Any = session.execute(
        update(Unit)
        .where(*still)
        .values(
            state=UnitState.running,
            fence=Unit.fence + 1,
            attempt=Unit.attempt + 1,
            worker=who.worker,
            lease_expires_at=database_now(plus=lease_seconds, now=now),
            started_at=func.coalesce(Unit.started_at, database_now()),
            not_before=None,
            yield_to=None,
        )
        .returning(
            Unit.dataset_id,
            Unit.transfer_id,
            Unit.kind,
            Unit.iteration,
            Unit.shard,
            Unit.shards,
            Unit.attempt,
            Unit.fence,
        )
        .execution_options(**QUIETLY)
    ).first()
    if row is None:
        return None
    claim = Claim(
        unit_id,
        job_id,
        row.dataset_id,
        row.kind,
        row.iteration,
        row.shard,
        row.shards,
        row.attempt,
        row.fence,
        who.worker,
        row.transfer_id,
        who.has.nodes if row.kind is UnitKind.train else 1,
    )
    _note(session, claim, gpus=who.has.gpus, now=now)
    return claim


def _note(session: Session, claim: Claim, *, gpus: int, now: datetime | None) -> None:
    """Write what follows from a claim: an attempt, the seats of a gang, the job's history."""
    unit_id, fence, worker = claim.unit_id, claim.fence, claim.worker
    session.add(Attempt(unit_id=unit_id, fence=fence, worker=worker, gpus=gpus, started_at=utcnow()))
    if claim.nodes > 1:
        seats.open_seats(
            session, unit_id=unit_id, fence=fence, nodes=claim.nodes, worker=worker, gpus=gpus, now=now
        )
    if claim.job_id is not None:
        _tell_start(session, claim, claim.job_id)


def _below(session: Session, project_id: str) -> ColumnElement[bool]:
    """Lock a project's row, and return SQL for: it may run one unit more.

    The next statement sees what those committed who held the lock before; this one would not.
    """
    most = session.scalar(
        update(Project)
        .where(Project.id == project_id)
        .values(max_running=Project.max_running)
        .returning(Project.max_running)
        .execution_options(**QUIETLY)
    )
    running = select(func.count()).where(OTHER.state == UnitState.running, OTHER.project_id == project_id)
    return true() if most is None else running.scalar_subquery() < most


def _tell_start(session: Session, claim: Claim, job_id: str) -> None:
    job = lock(session, job_id)
    if job.state is JobState.queued:
        move(
            session,
            job,
            to=JobState.running,
            come_from=(JobState.queued,),
            started_at=job.started_at or utcnow(),
        )
    what = f"started by {claim.worker}, attempt {claim.attempt}"
    if claim.nodes > 1:
        what += f"; {claim.nodes - 1} more with --nodes {claim.nodes} are to come"
    tell(session, job_id, [unit_event(claim, "running", what)])


def unit_event(claim: Claim, state: str, what: str, **data: Any) -> NewEvent:
    """Return the event of a unit that changes its state."""
    name = claim.kind.value + (f" {claim.iteration}" if claim.kind is not UnitKind.encode else "")
    name += f" ({claim.shard + 1} of {claim.shards})" if claim.shards > 1 else ""
    told = {
        "unit": claim.unit_id,
        "kind": claim.kind.value,
        "iteration": claim.iteration,
        "shard": claim.shard,
        "state": state,
        "attempt": claim.attempt,
        "fence": claim.fence,
        "worker": claim.worker,
    }
    return NewEvent("unit", f"{name}: {what}.", told | data)


def _made_already(session: Session, unit: Row[Any]) -> bool:
    """Finish a unit whose content another has made; tell whether that was so."""
    unit_id, job_id = unit.id, unit.job_id
    output = session.scalar(
        select(OTHER.output)
        .join(Unit, Unit.content_key == OTHER.content_key)
        .where(Unit.id == unit_id, OTHER.state == UnitState.succeeded, OTHER.id != unit_id)
        .limit(1)
    )
    if output is None:
        return False
    job = lock(session, job_id)
    finished: Any = session.execute(
        update(Unit)
        .where(Unit.id == unit_id, Unit.state == UnitState.pending)
        .values(state=UnitState.succeeded, output=output, fence=Unit.fence + 1, finished_at=database_now())
        .returning(Unit.kind, Unit.iteration, Unit.shard, Unit.shards, Unit.attempt, Unit.fence)
        .execution_options(**QUIETLY)
    ).first()
    if finished is not None:
        claim = Claim(
            unit_id=unit_id,
            job_id=job_id,
            dataset_id=None,
            kind=finished.kind,
            iteration=finished.iteration,
            shard=finished.shard,
            shards=finished.shards,
            attempt=finished.attempt,
            fence=finished.fence,
            worker="",
        )
        tell(session, job_id, [unit_event(claim, "succeeded", "done before for the same data and model")])
        settle(session, job)
    return True


def renew(session: Session, claim: Claim, *, lease_seconds: float, now: datetime | None = None) -> bool:
    """Extend the lease; False when the unit is no longer the claim's, and its work must stop."""
    kept = session.scalar(
        update(Unit)
        .where(Unit.id == claim.unit_id, Unit.fence == claim.fence, Unit.state == UnitState.running)
        .values(lease_expires_at=database_now(plus=lease_seconds, now=now))
        .returning(Unit.id)
        .execution_options(**QUIETLY)
    )
    return kept is not None


def wish(session: Session, claim: Claim) -> Wish:
    """Return what is wished of a unit that runs."""
    row = session.execute(
        select(Unit.fence, Unit.state, Unit.yield_to, Job.pause_requested, Job.cancel_requested)
        .outerjoin(Job, Job.id == Unit.job_id)
        .where(Unit.id == claim.unit_id)
    ).first()
    if row is None or row.fence != claim.fence or row.state is not UnitState.running:
        return Wish.lost
    if row.cancel_requested:
        return Wish.cancel
    if row.pause_requested:
        return Wish.pause
    return Wish.make_way if row.yield_to is not None and _waits(session, row.yield_to) else Wish.go_on


def _waits(session: Session, job_id: str) -> bool:
    """Tell whether a job still has a unit that waits for a worker: it may have found another."""
    waiting = select(Unit.id).where(Unit.job_id == job_id, Unit.state == UnitState.pending).exists()
    return bool(session.scalar(select(or_(waiting, seats.lacks(job_id)))))


def hold(session: Session, claim: Claim, **values: Any) -> Job | None:
    """Lock the claim's job and prove that the unit is still the claim's, changing ``values`` of it.

    Raises:
        StaleFence: it is not; the caller's transaction must end without a commit.
    """
    job = lock(session, claim.job_id) if claim.job_id is not None else None
    held = session.scalar(
        update(Unit)
        .where(Unit.id == claim.unit_id, Unit.fence == claim.fence, Unit.state == UnitState.running)
        .values(**({"fence": Unit.fence} | values))
        .returning(Unit.id)
        .execution_options(**QUIETLY)
    )
    if held is None:
        raise StaleFence(f"{claim.unit_id}: fence {claim.fence} of {claim.worker} is stale")
    return job
