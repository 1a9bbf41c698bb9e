"""How a claimed unit ends: done, failed, or given back. Each is refused when the claim is stale."""

from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from core import datasets, outbox, registry
from core.clock import database_now
from core.events import NewEvent, tell
from core.models import Job, Reason, Unit, UnitKind, UnitState
from core.queue import RUN_UNIT
from core.runs.accounts import close_attempt
from core.runs.claims import Claim, hold, unit_event
from core.runs.lifecycle import settle
from core.runs.reaping import lose
from core.runs.retention import thin
from core.transfers import ending as transfers


def succeed_unit(session: Session, claim: Claim, *, output: dict[str, Any]) -> None:
    """Finish a unit, publish what it made, and let the next ones start.

    Args:
        session: an open transaction.
        claim: what ``claim_unit`` gave.
        output: for units of jobs ``{"files": [{path, key, sha256, size}, ...]}``, the manifest of the unit's
            ``out`` folder, with ``peak_memory_bytes`` where it was measured; for ``ingest`` what was found,
            ``shards`` and ``pages`` being manifests. For an import also ``found``.

    Raises:
        StaleFence: the claim is lost; nothing may be committed.
    """
    job = hold(
        session,
        claim,
        state=UnitState.succeeded,
        output=output,
        failure=None,
        lease_expires_at=None,
        finished_at=database_now(),
    )
    if claim.transfer_id is not None:
        transfers.complete(session, transfer_id=claim.transfer_id, unit_id=claim.unit_id, output=output)
    elif job is None:
        assert claim.dataset_id is not None
        datasets.complete_dataset(session, dataset_id=claim.dataset_id, output=output)
    close_attempt(session, claim.unit_id, claim.fence, outcome="succeeded")
    if job is None:
        return
    assert output["files"], "a unit of a job has an output"
    tell(session, job.id, [unit_event(claim, "succeeded", "done")])
    if claim.kind is UnitKind.train:
        told = {"iteration": claim.iteration, "unit": claim.unit_id}
        tell(session, job.id, [NewEvent("iteration", f"Iteration {claim.iteration} is trained.", told)])
    if claim.kind is UnitKind.publish:
        _publish(session, job, claim, output)
    settle(session, job)
    thin(session, job)  # what an evaluation says may decide which checkpoint is the best


def _publish(session: Session, job: Job, claim: Claim, output: dict[str, Any]) -> None:
    model = registry.publish(session, job=job, unit_id=claim.unit_id, output=output)
    job.result_model_id = model.id
    session.flush()
    tell(session, job.id, [NewEvent("model", f"The model {model.id} is published.", {"model": model.id})])


def fail_unit(
    session: Session,
    claim: Claim,
    *,
    reason: Reason | str,
    message: str,
    culprit: str | None = None,
    now: datetime | None = None,
) -> None:
    """End an attempt that failed: the unit is tried again after a while, or given up.

    ``culprit`` is the worker on which it failed, if that is another than the claim's.

    Raises:
        StaleFence: the claim is lost; nothing may be committed.
    """
    job = hold(session, claim)
    lose(session, job, claim.unit_id, reason=Reason(reason), message=message, culprit=culprit, now=now)


def release_unit(
    session: Session,
    claim: Claim,
    *,
    cancelled: bool = False,
    why: str | None = None,
    wait: float = 0.0,
    now: datetime | None = None,
) -> None:
    """Give a unit back unharmed, because the worker stops or the user wishes it. It costs no attempt.

    Args:
        session: an open transaction.
        claim: what ``claim_unit`` gave.
        cancelled: the wish was to cancel; the unit ends.
        why: what is told of it, if there is something to tell.
        wait: seconds in which nobody claims it again.
        now: what the time is taken to be, in place of the database's clock.

    Raises:
        StaleFence: the claim is lost; nothing may be committed.
    """
    state = UnitState.cancelled if cancelled else UnitState.pending
    yields_to = session.scalar(select(Unit.yield_to).where(Unit.id == claim.unit_id))
    job = hold(
        session,
        claim,
        state=state,
        worker=None,
        yield_to=None,
        lease_expires_at=None,
        attempt=Unit.attempt - (0 if cancelled else 1),
        finished_at=database_now() if cancelled else None,
        pending_at=None if cancelled else database_now(plus=wait, now=now),
        not_before=database_now(plus=wait, now=now) if wait else None,
    )
    outcome = "cancelled" if cancelled else Reason.preempted.value
    by = None if job is None or cancelled or job.pause_requested else yields_to
    what = f"stopped, {outcome}" + (f" by {by}, whose priority is higher" if by else "")
    what += f": {why}" if why else ""
    message = f"by {by}" if by else why
    close_attempt(session, claim.unit_id, claim.fence, outcome=outcome, message=message)
    if job is not None:
        told = {"preempted_by": by} if by else {}
        tell(session, job.id, [unit_event(claim, state.value, what, **told)])
        settle(session, job)
    if not cancelled and not wait:
        outbox.enqueue(session, task=RUN_UNIT[claim.kind], payload=claim.unit_id)
