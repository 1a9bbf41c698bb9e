"""Events that endpoints are owed."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from core.clock import UtcDateTime, database_now, utcnow
from core.models.columns import ZERO, Base, checked
from core.models.states import DeliveryState


class WebhookDelivery(Base):
    """One event for one endpoint; ``body`` is sent as it is, since it is what the signature covers.

    ``failures`` counts the attempts that failed since it was written or last replayed.
    """

    __tablename__ = "webhook_delivery"
    __table_args__ = (Index(None, "endpoint_id", "state", "due_at"), Index(None, "endpoint_id", "id"))

    id: Mapped[str] = mapped_column(primary_key=True)
    endpoint_id: Mapped[str] = mapped_column(ForeignKey("webhook_endpoint.id"))
    event_id: Mapped[str]
    event_type: Mapped[str]
    body: Mapped[str]
    state: Mapped[DeliveryState] = mapped_column(checked(DeliveryState), default=DeliveryState.pending)
    failures: Mapped[int] = mapped_column(default=0, server_default=ZERO)
    due_at: Mapped[datetime] = mapped_column(UtcDateTime, default=database_now(), index=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
