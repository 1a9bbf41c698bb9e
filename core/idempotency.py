"""A POST with an ``Idempotency-Key`` is done once; a repeated one gets the first answer again."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from core.clock import database_now
from core.errors import Conflict, Invalid
from core.models import Idempotency
from core.upsert import insert

RUNNING_SECONDS = 15 * 60
KEEP_SECONDS = 24 * 3600


@dataclass(frozen=True)
class Answer:
    """What the first request was answered."""

    status: int
    body: dict[str, Any]


def begin(
    session: Session, *, project_id: str, key: str, fingerprint: str, now: datetime | None = None
) -> Answer | None:
    """Return the first answer, or None when this is the first request: then the key is reserved for it.

    Raises:
        Conflict: the first request still runs; a request that ran for 15 minutes counts as lost.
        Invalid: the first request under this key asked for something else.
    """
    row = {"project_id": project_id, "key": key, "fingerprint": fingerprint}
    reserved = session.execute(
        insert(session, Idempotency)
        .values(**row, created_at=database_now(now=now))
        .on_conflict_do_nothing()
        .returning(Idempotency.key)
    ).first()
    if reserved is not None or _taken_over(session, project_id, key, fingerprint, now):
        return None
    first = session.scalars(
        select(Idempotency)
        .where(Idempotency.project_id == project_id, Idempotency.key == key)
        .execution_options(populate_existing=True)
    ).one()
    if first.fingerprint != fingerprint:
        raise Invalid(
            "this Idempotency-Key was used for another request; choose a new one for each request",
            param="Idempotency-Key",
            code="idempotency_key_reused",
        )
    if first.status is None:
        raise Conflict(
            "the first request with this Idempotency-Key still runs; try again in a moment",
            param="Idempotency-Key",
            code="idempotency_in_progress",
        )
    return Answer(first.status, first.body or {})


def finish(session: Session, *, project_id: str, key: str, status: int, body: dict[str, Any]) -> None:
    """Keep the answer of a request that has begun."""
    session.execute(
        update(Idempotency)
        .where(Idempotency.project_id == project_id, Idempotency.key == key)
        .values(status=status, body=body)
    )


def abandon(session: Session, *, project_id: str, key: str) -> None:
    """Forget a request that came to nothing, so that it can be sent again."""
    session.execute(
        delete(Idempotency).where(
            Idempotency.project_id == project_id, Idempotency.key == key, Idempotency.status.is_(None)
        )
    )


def sweep(session: Session, *, now: datetime | None = None) -> int:
    """Forget answers older than a day; return how many."""
    old = delete(Idempotency).where(Idempotency.created_at < database_now(plus=-KEEP_SECONDS, now=now))
    return len(session.execute(old.returning(Idempotency.key)).all())


def _taken_over(session: Session, project_id: str, key: str, fingerprint: str, now: datetime | None) -> bool:
    """Take the place of a request that was lost on its way, if it is one."""
    taken = session.execute(
        update(Idempotency)
        .where(
            Idempotency.project_id == project_id,
            Idempotency.key == key,
            Idempotency.status.is_(None),
            Idempotency.created_at < database_now(plus=-RUNNING_SECONDS, now=now),
        )
        .values(fingerprint=fingerprint, created_at=database_now(now=now))
        .returning(Idempotency.key)
    ).first()
    return taken is not None
