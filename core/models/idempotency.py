"""Answers that were given once."""

from datetime import datetime

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from core.clock import UtcDateTime, database_now
from core.models.columns import Base, Data, Json


class Idempotency(Base):
    """A request under an ``Idempotency-Key``; ``status`` is empty while the first one runs."""

    __tablename__ = "idempotency"

    project_id: Mapped[str] = mapped_column(ForeignKey("project.id"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[str]
    status: Mapped[int | None]
    body: Mapped[Data | None] = mapped_column(Json)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=database_now(), index=True)
