"""Messages that a committed transaction owes to the queue."""

from datetime import datetime

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from core.clock import UtcDateTime, database_now
from core.models.columns import Base


class Outbox(Base):
    """One doorbell: the task to ring, and the id it carries."""

    __tablename__ = "outbox"
    __table_args__ = (Index(None, "sent_at", "created_at"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    task: Mapped[str]
    payload: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=database_now())
    sent_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
