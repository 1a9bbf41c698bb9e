"""Units whose attempt ended badly: tried again after a while, or given up with what is known."""

from datetime import datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from core import datasets, outbox
from core.clock import database_now
from core.db import settings_of
from core.events import NewEvent, tell
from core.models import Attempt, Job, Level, Reason, Unit, UnitKind, UnitState
from core.planner import retry_after
from core.queue import RUN_UNIT
from core.runs import seats
from core.runs.accounts import close_attempt
from core.runs.elsewhere import another_way
from core.runs.lifecycle import QUIETLY, lock, settle
from core.runs.retries import RULES, first_line, judge, log_of
from core.transfers import ending as transfers

BATCH = 100
SILENT = "the worker has been silent for longer than its lease"
TOLD = 10


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
    """Take all units and seats from a worker that is known to be dead, whatever their leases; count them."""
    held = session.scalars(
        select(Unit.id).where(Unit.state == UnitState.running, Unit.worker == worker).order_by(Unit.id)
    ).all()
    taken = sum(_take_back(session, unit_id, "the worker died", now=now, worker=worker) for unit_id in held)
    return taken + seats.give_back(session, worker=worker, now=now)


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
    session: Session,
    job: Job | None,
    unit_id: str,
    *,
    reason: Reason,
    message: str,
    now: datetime | None,
    culprit: str | None = None,
) -> None:
    """Deal with a failed attempt at a unit that the caller holds, its job locked.

    ``core.runs.retries`` says what follows. An ended unit fails what it is of; a lost evaluation
    does neither.
    """
    settings = settings_of(session)
    unit = session.scalars(
        select(Unit).where(Unit.id == unit_id).execution_options(populate_existing=True)
    ).one()
    message = message[:4000]
    worker = culprit or unit.worker
    failure = {"reason": reason.value, "message": message, "attempt": unit.attempt, "worker": worker}
    so_far = {"failures": unit.failures, "alike": unit.alike}
    found = judge(reason, message, last=unit.failure, **so_far, most=settings.max_attempts)
    cancelled = job is not None and job.cancel_requested
    state = UnitState.cancelled if cancelled else UnitState.failed if found.parked else UnitState.pending
    if job is None and state is UnitState.failed:
        _give_up(session, unit, reason, message)
    close_attempt(session, unit_id, unit.fence, outcome=reason.value, message=message)
    free = RULES[reason].tries == 0
    wait = 0.0 if free else retry_after(found.failures, seconds=settings.retry_seconds)
    values: dict[str, Any] = {"finished_at": database_now()}
    if state is UnitState.pending:
        again = another_way(session, unit, reason, wait=wait, now=now, culprit=culprit)
        values = {"not_before": database_now(plus=wait, now=now) if wait else None, **again}
        values["pending_at"] = database_now(plus=wait, now=now)
        values |= {"attempt": Unit.attempt - 1} if free else {}
    elif state is UnitState.failed:
        failure |= diagnostics(session, unit_id, reason, message)
    session.execute(
        update(Unit)
        .where(Unit.id == unit_id, Unit.fence == unit.fence)
        .values(
            state=state,
            failures=found.failures,
            alike=found.alike,
            failure=failure,
            lease_expires_at=None,
            worker=None,
            **values,
        )
        .execution_options(**QUIETLY)
    )
    if job is not None:
        tell(session, job.id, [_lost(unit, reason, message, state, wait)])
        settle(session, job)
    if state is UnitState.pending and not wait:
        outbox.enqueue(session, task=RUN_UNIT[unit.kind], payload=unit_id)


def _give_up(session: Session, unit: Unit, reason: Reason, message: str) -> None:
    """End what a unit of no job was for."""
    told = {"reason": reason.value, "message": message}
    if unit.transfer_id is not None:
        transfers.fail(session, transfer_id=unit.transfer_id, **told)
        return
    assert unit.dataset_id is not None
    datasets.fail_dataset(session, dataset_id=unit.dataset_id, **told)


def diagnostics(session: Session, unit_id: str, reason: Reason, message: str) -> dict[str, Any]:
    """Return what helps a person to act on a unit that is given up: what to do, the log, the attempts."""
    last = select(Attempt).where(Attempt.unit_id == unit_id).order_by(Attempt.fence.desc()).limit(TOLD)
    tried = session.scalars(last.execution_options(populate_existing=True)).all()
    return {
        "what_to_do": RULES[reason].advice,
        "log": log_of(message),
        "attempts": [
            {
                "worker": each.worker,
                "started_at": each.started_at.timestamp(),
                "ended_at": None if each.ended_at is None else each.ended_at.timestamp(),
                "outcome": each.outcome,
                "message": first_line(each.message or ""),
            }
            for each in reversed(tried)
        ],
    }


def _lost(unit: Unit, reason: Reason, message: str, state: UnitState, wait: float) -> NewEvent:
    after = {
        UnitState.pending: f"trying again in {wait:.0f} s",
        UnitState.failed: f"given up. {RULES[reason].advice.rstrip('.')}"
        if unit.kind is not UnitKind.evaluate
        else "the job goes on without these numbers",
        UnitState.cancelled: "the job is being cancelled",
    }[state]
    return NewEvent(
        "unit",
        f"{unit.kind.value} {unit.iteration}: {RULES[reason].who}: {first_line(message)}; {after}.",
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
            "message": message,
        },
        Level.error if state is UnitState.failed and unit.kind is not UnitKind.evaluate else Level.warn,
    )
