"""Addresses that want to be told."""

from datetime import datetime

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from core.clock import UtcDateTime, database_now, utcnow
from core.models.columns import ZERO, Base, Json


class WebhookEndpoint(Base):
    """An address of a project's own that events are sent to, claimed like a unit: with a lease and a fence.

    The secrets are kept as they are: a signature cannot be made with a digest. ``old_secret`` signs beside
    ``secret`` until ``old_secret_until``. ``failing_since`` is when the first delivery failed after the last
    one that got through. Deleted rows stay until their deliveries are swept.
    """

    __tablename__ = "webhook_endpoint"

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("project.id"), index=True)
    name: Mapped[str]
    url: Mapped[str]
    event_types: Mapped[list[str]] = mapped_column(Json)
    enabled: Mapped[bool] = mapped_column(default=True)
    disabled_reason: Mapped[str | None]
    secret: Mapped[str]
    old_secret: Mapped[str | None]
    old_secret_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    failing_since: Mapped[datetime | None] = mapped_column(UtcDateTime)
    fence: Mapped[int] = mapped_column(default=0, server_default=ZERO)
    busy_until: Mapped[datetime] = mapped_column(UtcDateTime, default=database_now())
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    deleted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
