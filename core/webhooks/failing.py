"""Endpoints of webhooks that do not answer, and what they are owed."""

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.clock import database_now
from core.models import DeliveryState, WebhookDelivery, WebhookEndpoint


@dataclass(frozen=True)
class Failing:
    """How many endpoints fail, for how long the first of them, and how many deliveries are overdue."""

    endpoints: int
    seconds: float
    overdue: int


def failing(session: Session) -> Failing:
    """Return how the endpoints that are enabled do."""
    enabled = (WebhookEndpoint.enabled, WebhookEndpoint.deleted_at.is_(None))
    fails = select(func.count().label("number"), func.min(WebhookEndpoint.failing_since).label("oldest"))
    row = session.execute(fails.where(*enabled, WebhookEndpoint.failing_since.is_not(None))).one()
    due = (
        select(func.count())
        .select_from(WebhookDelivery)
        .join(WebhookEndpoint, WebhookEndpoint.id == WebhookDelivery.endpoint_id)
    )
    overdue = session.scalar(
        due.where(
            *enabled, WebhookDelivery.state == DeliveryState.pending, WebhookDelivery.due_at < database_now()
        )
    )
    now = session.scalar(select(database_now()))
    assert now is not None
    seconds = 0.0 if row.oldest is None else max(0.0, (now - row.oldest).total_seconds())
    return Failing(row.number, seconds, overdue or 0)
