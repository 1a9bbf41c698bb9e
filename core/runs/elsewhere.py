"""Where a unit goes after a failure: to another worker, to one with more memory, into smaller batches."""

from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from core import workers
from core.clock import database_now
from core.methods import hyperparameters_of
from core.models import Job, Reason, Unit, UnitKind, WorkerNode
from core.runs.capabilities import Need, Node, enough, fits
from core.runs.retries import RULES, smaller

OTHERS_FIRST_SECONDS = 60.0


def another_way(
    session: Session,
    unit: Unit,
    reason: Reason,
    *,
    wait: float,
    now: datetime | None,
    culprit: str | None = None,
) -> dict[str, Any]:
    """Return what changes of a unit that failed on its worker, and may run again in ``wait`` seconds.

    ``culprit`` is that worker, where several do it together and it is not the one that has the claim.

    Nothing changes where no others live that could take it: better the same one than none.
    """
    rule = RULES[reason]
    if not (rule.elsewhere or rule.roomier):
        return {}
    need, worker = need_of(unit), culprit or unit.worker
    others = [node for node in workers.living(session) if node.name != worker and fits(need, node)]
    if rule.roomier:
        return _roomier(session, unit, others)
    if not enough(need, others):
        return {}
    until = database_now(plus=wait + OTHERS_FIRST_SECONDS, now=now)
    return {"avoid": worker, "avoid_until": until}


def need_of(unit: Unit) -> Need:
    """Return what a unit needs of a worker."""
    return Need(unit.kind, unit.queue, unit.device, unit.memory_bytes)


def _roomier(session: Session, unit: Unit, others: list[Node]) -> dict[str, Any]:
    """Ask for more memory than it had, where a worker has that; else for smaller batches of a training."""
    had = session.scalar(select(WorkerNode.memory_bytes).where(WorkerNode.name == unit.worker))
    if had is not None and any((node.has.memory_bytes or 0) > had for node in others):
        return {"memory_bytes": max(unit.memory_bytes, had + 1)}
    if unit.kind is not UnitKind.train or unit.job_id is None:
        return {}
    asked = hyperparameters_of(session.get_one(Job, unit.job_id).method)
    micro = unit.micro_batch or asked.micro_batch_size or asked.batch_size
    return {"micro_batch": smaller(asked.batch_size, micro)}
