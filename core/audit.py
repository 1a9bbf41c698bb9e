"""The audit log: which key changed what, and what it was not allowed to do.

An entry is written in the transaction of its change, so that neither is there without the other. It names the
route and the object, never a body, a query or a header: those hold secrets.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from core.clock import database_now
from core.ids import new_id
from core.logs import blanked
from core.models import AuditEntry, Outcome
from core.paging import Page, page

DAY_SECONDS = 24 * 3600
LONGEST_ID = 200


@dataclass(frozen=True)
class Act:
    """A request of a key: who, and to what address.

    ``object_id`` is the id in the address; what is made by a request has none before.
    """

    project_id: str
    key_id: str
    method: str
    route: str
    object_id: str | None
    request_id: str | None


def record(
    session: Session, act: Act, *, outcome: Outcome = Outcome.done, made: str | None = None
) -> AuditEntry:
    """Write what a key did, or was denied; ``made`` is the id of what came of it."""
    object_id = act.object_id or made
    entry = AuditEntry(
        id=new_id("audit-"),
        project_id=act.project_id,
        key_id=act.key_id,
        method=act.method,
        route=act.route,
        # Somebody may have put a key where an id belongs.
        object_id=None if object_id is None else blanked(object_id.replace("\0", ""))[:LONGEST_ID],
        outcome=outcome,
        request_id=None if act.request_id is None else blanked(act.request_id),
    )
    session.add(entry)
    session.flush()
    return entry


def list_entries(
    session: Session,
    *,
    project_id: str,
    key_id: str | None = None,
    object_id: str | None = None,
    after: str | None = None,
    limit: int = 20,
) -> Page[AuditEntry]:
    """List a project's entries, newest first; those of one key, or about one object."""
    statement = select(AuditEntry).where(AuditEntry.project_id == project_id)
    if key_id is not None:
        statement = statement.where(AuditEntry.key_id == key_id)
    if object_id is not None:
        statement = statement.where(AuditEntry.object_id == object_id)
    return page(session, statement, by=AuditEntry.id, after=after, limit=limit)


def sweep(session: Session, *, days: int, now: datetime | None = None) -> int:
    """Forget entries older than so many days; return how many."""
    old = delete(AuditEntry).where(AuditEntry.created_at < database_now(plus=-days * DAY_SECONDS, now=now))
    return len(session.execute(old.returning(AuditEntry.id)).all())
