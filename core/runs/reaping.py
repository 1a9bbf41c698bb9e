"""Units whose attempt ended badly: tried again after a while, or given up with what is known."""

from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from core import datasets, outbox
from core.clock import database_now, utcnow
from core.db import settings_of
from core.events import NewEvent, tell
from core.models import Attempt, Job, Level, Reason, Unit, UnitKind, UnitState
from core.planner import retry_after
from core.queue import RUN_UNIT
from core.runs.lifecycle import QUIETLY, lock, settle

BATCH = 100
SILENT = "the worker has been silent for longer than its lease"
WHO = {
    Reason.user_error: "What was given cannot be used",
    Reason.out_of_memory: "Memory ran out",
    Reason.device_lost: "The accelerator was lost",
    Reason.worker_lost: "The worker was lost",
    Reason.timeout: "It took too long",
    Reason.internal: "Something went wrong on our side",
}


def reap(session: Session, *, now: datetime | None = None) -> int:
    """Take units from workers whose lease has expired; return how many."""
    expired = session.scalars(
        select(Unit.id)
        .where(Unit.state == UnitState.running, Unit.lease_expires_at < database_now(now=now))
        .order_by(Unit.id)
        .limit(BATCH)
    ).all()
    return sum(_take_back(session, unit_id, SILENT, now=now, expired=True) for unit_id in expired)


def give_back(session: Session, *, worker: str, now: datetime | None = None) -> int:
    """Take all units from a worker that is known to be dead, whatever their leases; return how many."""
    held = session.scalars(
        select(Unit.id).where(Unit.state == UnitState.running, Unit.worker == worker).order_by(Unit.id)
    ).all()
    return sum(_take_back(session, unit_id, "the worker died", now=now, worker=worker) for unit_id in held)


def _take_back(
    session: Session,
    unit_id: str,
    message: str,
    *,
    now: datetime | None,
    expired: bool = False,
    worker: str | None = None,
) -> bool:
    """Take one unit back, unless it was renewed or finished meanwhile."""
    job_id = session.scalar(select(Unit.job_id).where(Unit.id == unit_id))
    job = lock(session, job_id) if job_id is not None else None
    still = [Unit.id == unit_id, Unit.state == UnitState.running]
    if expired:
        still.append(Unit.lease_expires_at < database_now(now=now))
    if worker is not None:
        still.append(Unit.worker == worker)
    taken = session.scalar(
        update(Unit)
        .where(*still)
        .values(lease_expires_at=None)
        .returning(Unit.id)
        .execution_options(**QUIETLY)
    )
    if taken is None:
        return False
    lose(session, job, unit_id, reason=Reason.worker_lost, message=message, now=now)
    return True


def lose(
    session: Session, job: Job | None, unit_id: str, *, reason: Reason, message: str, now: datetime | None
) -> None:
    """Deal with a failed attempt at a unit that the caller holds, its job locked.

    A user's mistake ends the unit at once; other reasons end it after ``max_attempts`` failures without
    progress between them. An ended unit fails its job, or its dataset; a lost evaluation does neither.
    """
    settings = settings_of(session)
    unit = session.scalars(
        select(Unit).where(Unit.id == unit_id).execution_options(populate_existing=True)
    ).one()
    failure = {
        "reason": reason.value,
        "message": message[:4000],
        "attempt": unit.attempt,
        "worker": unit.worker,
    }
    close_attempt(session, unit_id, unit.fence, outcome=reason.value, message=message[:4000])
    failures = unit.failures + 1
    cancelled = job is not None and job.cancel_requested
    parked = reason is Reason.user_error or failures >= settings.max_attempts
    state = UnitState.cancelled if cancelled else UnitState.failed if parked else UnitState.pending
    wait = retry_after(failures, seconds=settings.retry_seconds)
    session.execute(
        update(Unit)
        .where(Unit.id == unit_id, Unit.fence == unit.fence)
        .values(
            state=state,
            failures=failures,
            failure=failure,
            lease_expires_at=None,
            worker=None,
            not_before=database_now(plus=wait, now=now) if state is UnitState.pending else None,
            pending_at=database_now(plus=wait, now=now) if state is UnitState.pending else None,
            finished_at=None if state is UnitState.pending else database_now(),
        )
        .execution_options(**QUIETLY)
    )
    if job is not None:
        tell(session, job.id, [_lost(unit, reason, message, state, wait)])
        settle(session, job)
    elif state is UnitState.failed:
        assert unit.dataset_id is not None
        datasets.fail_dataset(session, dataset_id=unit.dataset_id, reason=reason.value, message=message)
    if state is UnitState.pending and not wait:
        outbox.enqueue(session, task=RUN_UNIT[unit.kind], payload=unit_id)


def _lost(unit: Unit, reason: Reason, message: str, state: UnitState, wait: float) -> NewEvent:
    after = {
        UnitState.pending: f"trying again in {wait:.0f} s",
        UnitState.failed: "given up"
        if unit.kind is not UnitKind.evaluate
        else "the job goes on without these numbers",
        UnitState.cancelled: "the job is being cancelled",
    }[state]
    first_line = next(iter(message.splitlines()), "")[:300]
    return NewEvent(
        "unit",
        f"{unit.kind.value} {unit.iteration}: {WHO[reason]}: {first_line}; {after}.",
        {
            "unit": unit.id,
            "kind": unit.kind.value,
            "iteration": unit.iteration,
            "shard": unit.shard,
            "state": state.value,
            "attempt": unit.attempt,
            "fence": unit.fence,
            "worker": unit.worker,
            "reason": reason.value,
            "message": message[:4000],
        },
        Level.error if state is UnitState.failed and unit.kind is not UnitKind.evaluate else Level.warn,
    )


def close_attempt(
    session: Session, unit_id: str, fence: int, *, outcome: str, message: str | None = None
) -> None:
    """Note how an attempt ended."""
    session.execute(
        update(Attempt)
        .where(Attempt.unit_id == unit_id, Attempt.fence == fence)
        .values(ended_at=utcnow(), outcome=outcome, message=message)
        .execution_options(**QUIETLY)
    )
