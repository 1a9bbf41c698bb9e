"""Workers: who they are and when they were last seen, by the database's clock."""

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from core.clock import database_now
from core.models import WorkerNode
from core.upsert import insert

SEEN_SECONDS = 60.0
KEEP_SECONDS = 7 * 24 * 3600.0


def heartbeat(session: Session, *, name: str, kind: str, unheard_seconds: float | None = None) -> None:
    """Note that a worker is there, and for how long work has been waiting for it without a message."""
    since = None if unheard_seconds is None else database_now(plus=-unheard_seconds)
    told = {"kind": kind, "seen_at": database_now(), "unheard_since": since}
    session.execute(
        insert(session, WorkerNode)
        .values(name=name, **told)
        .on_conflict_do_update(index_elements=["name"], set_=told)
    )


def seen(session: Session, *, within: float = SEEN_SECONDS) -> dict[str, int]:
    """Count the workers seen lately, by kind."""
    statement = (
        select(WorkerNode.kind, func.count().label("number"))
        .where(WorkerNode.seen_at > database_now(plus=-within))
        .group_by(WorkerNode.kind)
    )
    return {row.kind: row.number for row in session.execute(statement)}


def sweep(session: Session) -> int:
    """Forget workers that were not seen for a week; return how many."""
    gone = delete(WorkerNode).where(WorkerNode.seen_at < database_now(plus=-KEEP_SECONDS))
    return len(session.execute(gone.returning(WorkerNode.name)).all())
