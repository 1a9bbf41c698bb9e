"""What came of each attempt to deliver."""

from datetime import datetime

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from core.clock import UtcDateTime
from core.models.columns import Base


class WebhookAttempt(Base):
    """One request to an endpoint: its HTTP ``status``, or the ``error`` that left it without one."""

    __tablename__ = "webhook_attempt"

    id: Mapped[str] = mapped_column(primary_key=True)
    delivery_id: Mapped[str] = mapped_column(ForeignKey("webhook_delivery.id"), index=True)
    began_at: Mapped[datetime] = mapped_column(UtcDateTime)
    milliseconds: Mapped[int]
    status: Mapped[int | None]
    error: Mapped[str | None]
    answer: Mapped[str | None]
