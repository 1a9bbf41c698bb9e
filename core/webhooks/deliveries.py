"""The log of deliveries: what was owed to an endpoint, what came of it, and owing it again."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, delete, select, update
from sqlalchemy.orm import Session

from core.clock import database_now
from core.errors import Conflict, NotFound
from core.models import DeliveryState, WebhookAttempt, WebhookDelivery, WebhookEndpoint
from core.paging import Page, page
from core.webhooks.endpoints import QUIETLY, change, get_endpoint

KEEP_SECONDS = 30 * 24 * 3600.0
BATCH = 500


def list_deliveries(
    session: Session,
    *,
    project_id: str,
    endpoint_id: str,
    state: DeliveryState | None = None,
    after: str | None = None,
    limit: int = 20,
) -> Page[WebhookDelivery]:
    """List what an endpoint was owed in the last 30 days, newest first."""
    get_endpoint(session, project_id=project_id, endpoint_id=endpoint_id)
    statement = select(WebhookDelivery).where(WebhookDelivery.endpoint_id == endpoint_id)
    if state is not None:
        statement = statement.where(WebhookDelivery.state == state)
    return page(session, statement, by=WebhookDelivery.id, after=after, limit=limit)


def get_delivery(session: Session, *, project_id: str, endpoint_id: str, delivery_id: str) -> WebhookDelivery:
    """Return one delivery as it is now."""
    get_endpoint(session, project_id=project_id, endpoint_id=endpoint_id)
    found = session.scalar(
        select(WebhookDelivery)
        .where(WebhookDelivery.id == delivery_id, WebhookDelivery.endpoint_id == endpoint_id)
        .execution_options(populate_existing=True)
    )
    if found is None:
        raise NotFound(
            f"{endpoint_id} has no delivery {delivery_id}", param="delivery_id", code="delivery_not_found"
        )
    return found


def attempts_of(session: Session, deliveries: Sequence[WebhookDelivery]) -> dict[str, list[WebhookAttempt]]:
    """Return the attempts at each delivery, oldest first."""
    found: dict[str, list[WebhookAttempt]] = {each.id: [] for each in deliveries}
    rows = session.scalars(
        select(WebhookAttempt).where(WebhookAttempt.delivery_id.in_(found)).order_by(WebhookAttempt.id)
    )
    for attempt in rows:
        found[attempt.delivery_id].append(attempt)
    return found


def replay(
    session: Session, *, project_id: str, endpoint_id: str, delivery_id: str, now: datetime | None = None
) -> WebhookDelivery:
    """Send a delivery again, now, whatever came of it; it may then fail as often as a new one.

    Raises:
        Conflict: the endpoint is disabled.
    """
    get_delivery(session, project_id=project_id, endpoint_id=endpoint_id, delivery_id=delivery_id)
    _owe_again(session, project_id, endpoint_id, WebhookDelivery.id == delivery_id, now=now)
    return get_delivery(session, project_id=project_id, endpoint_id=endpoint_id, delivery_id=delivery_id)


def replay_failed(
    session: Session, *, project_id: str, endpoint_id: str, since: datetime, now: datetime | None = None
) -> int:
    """Send again what failed of the events since a moment, as after an outage; return how many those are.

    Raises:
        Conflict: the endpoint is disabled.
    """
    return _owe_again(
        session,
        project_id,
        endpoint_id,
        WebhookDelivery.state == DeliveryState.failed,
        WebhookDelivery.created_at >= since,
        now=now,
    )


def sweep(session: Session, *, now: datetime | None = None) -> int:
    """Forget deliveries that were due 30 days ago or earlier, and deleted endpoints with none left.

    Returns:
        How many deliveries.
    """
    before = database_now(plus=-KEEP_SECONDS, now=now)
    old = session.scalars(
        select(WebhookDelivery.id).where(WebhookDelivery.due_at < before).limit(BATCH)
    ).all()
    session.execute(delete(WebhookAttempt).where(WebhookAttempt.delivery_id.in_(old)))
    session.execute(delete(WebhookDelivery).where(WebhookDelivery.id.in_(old)))
    owed = select(WebhookDelivery.id).where(WebhookDelivery.endpoint_id == WebhookEndpoint.id)
    session.execute(
        delete(WebhookEndpoint)
        .where(WebhookEndpoint.deleted_at < before, ~owed.exists())
        .execution_options(**QUIETLY)
    )
    return len(old)


def _owe_again(
    session: Session, project_id: str, endpoint_id: str, *which: ColumnElement[bool], now: datetime | None
) -> int:
    change(session, endpoint_id, name=WebhookEndpoint.name)  # whoever disables it comes before or after
    endpoint = get_endpoint(session, project_id=project_id, endpoint_id=endpoint_id)
    if not endpoint.enabled:
        raise Conflict(
            f"{endpoint_id} is disabled: enable it first, and then replay", code="webhook_disabled"
        )
    again = session.execute(
        update(WebhookDelivery)
        .where(WebhookDelivery.endpoint_id == endpoint_id, *which)
        .values(state=DeliveryState.pending, failures=0, due_at=database_now(now=now), finished_at=None)
        .returning(WebhookDelivery.id)
        .execution_options(**QUIETLY)
    )
    return len(again.all())
