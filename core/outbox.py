"""Messages are written in the transaction that causes them, and sent after its commit or by the relay."""

from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from core.clock import database_now
from core.db import Database, send, transaction
from core.ids import new_id
from core.models import Outbox
from core.origins import origin_of_message
from core.settings import Settings

BATCH = 500
KEEP_SENT_SECONDS = 3600


def enqueue(session: Session, *, task: str, payload: str) -> None:
    """Owe the queue a message."""
    doorbell = Outbox(id=new_id("msg-"), task=task, payload=payload)
    session.add(doorbell)
    session.info.setdefault("doorbells", []).append(doorbell)


def relay(database: Database, settings: Settings, *, now: datetime | None = None) -> int:
    """Send what has waited for longer than ``doorbell_seconds``; forget what was sent long ago.

    Returns:
        How many messages went out.
    """
    with transaction(database) as session:
        session.execute(
            delete(Outbox)
            .where(Outbox.sent_at < database_now(plus=-KEEP_SENT_SECONDS, now=now))
            .returning(Outbox.id)
        )
        owed = list(
            session.scalars(
                select(Outbox)
                .where(
                    Outbox.sent_at.is_(None),
                    Outbox.created_at <= database_now(plus=-settings.doorbell_seconds, now=now),
                )
                .order_by(Outbox.created_at, Outbox.id)
                .limit(BATCH)
            )
        )
        origins = {each.id: origin for each in owed if (origin := origin_of_message(session, each.payload))}
    return send(database, owed, origins=origins)
