"""Endpoints: where a project wants to be told of its events, and with which secret."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from core.clock import database_now, utcnow
from core.db import settings_of
from core.errors import Conflict, NotFound
from core.ids import new_id
from core.models import DeliveryState, WebhookDelivery, WebhookEndpoint
from core.paging import Page, page
from core.webhooks.addresses import checked_url
from core.webhooks.events import EventType
from core.webhooks.signing import new_secret

MOST = 50
OVERLAP_SECONDS = 24 * 3600.0
QUIETLY = {"synchronize_session": False}


def create_endpoint(
    session: Session, *, project_id: str, name: str, url: str, event_types: Sequence[EventType]
) -> WebhookEndpoint:
    """Make an endpoint with a secret of its own.

    Raises:
        Invalid: webhooks may not be sent to this address.
        Conflict: the project has as many as there may be.
    """
    checked_url(url, networks=settings_of(session).networks_of_webhooks())
    mine = (WebhookEndpoint.project_id == project_id, WebhookEndpoint.deleted_at.is_(None))
    if (session.scalar(select(func.count()).select_from(WebhookEndpoint).where(*mine)) or 0) >= MOST:
        raise Conflict(
            f"a project has at most {MOST} webhook endpoints: delete one first", code="too_many_webhooks"
        )
    endpoint = WebhookEndpoint(
        id=new_id("wh-"),
        project_id=project_id,
        name=name,
        url=url,
        event_types=_written(event_types),
        secret=new_secret(),
    )
    session.add(endpoint)
    session.flush()
    return endpoint


def get_endpoint(session: Session, *, project_id: str, endpoint_id: str) -> WebhookEndpoint:
    """Return an endpoint of the project as it is now."""
    endpoint = session.scalar(
        select(WebhookEndpoint)
        .where(
            WebhookEndpoint.id == endpoint_id,
            WebhookEndpoint.project_id == project_id,
            WebhookEndpoint.deleted_at.is_(None),
        )
        .execution_options(populate_existing=True)
    )
    if endpoint is None:
        raise NotFound(
            f"there is no webhook endpoint {endpoint_id}", param="endpoint_id", code="webhook_not_found"
        )
    return endpoint


def list_endpoints(
    session: Session, *, project_id: str, after: str | None = None, limit: int = 20
) -> Page[WebhookEndpoint]:
    """List a project's endpoints, newest first."""
    statement = select(WebhookEndpoint).where(
        WebhookEndpoint.project_id == project_id, WebhookEndpoint.deleted_at.is_(None)
    )
    return page(session, statement, by=WebhookEndpoint.id, after=after, limit=limit)


def update_endpoint(
    session: Session,
    *,
    project_id: str,
    endpoint_id: str,
    name: str | None = None,
    url: str | None = None,
    event_types: Sequence[EventType] | None = None,
    enabled: bool | None = None,
) -> WebhookEndpoint:
    """Change what is given of an endpoint. What it is owed goes to the new address.

    Raises:
        Invalid: webhooks may not be sent to this address.
    """
    get_endpoint(session, project_id=project_id, endpoint_id=endpoint_id)
    values: dict[str, Any] = {}
    if name is not None:
        values["name"] = name
    if url is not None:
        values["url"] = checked_url(url, networks=settings_of(session).networks_of_webhooks())
    if event_types is not None:
        values["event_types"] = _written(event_types)
    if enabled:
        values |= {"enabled": True, "disabled_reason": None, "failing_since": None}
    change(session, endpoint_id, updated_at=utcnow(), **values)
    if enabled is False:
        disable(session, endpoint_id, reason="It was disabled through the API.")
    return get_endpoint(session, project_id=project_id, endpoint_id=endpoint_id)


def delete_endpoint(session: Session, *, project_id: str, endpoint_id: str) -> None:
    """Delete an endpoint and its secrets; what it was owed is not sent any more."""
    get_endpoint(session, project_id=project_id, endpoint_id=endpoint_id)
    disable(session, endpoint_id, reason="It was deleted.")
    change(session, endpoint_id, deleted_at=utcnow(), secret="", old_secret=None)


def rotate_secret(
    session: Session, *, project_id: str, endpoint_id: str, keep_old: bool, now: datetime | None = None
) -> WebhookEndpoint:
    """Give an endpoint a new secret; the old one signs beside it for a day if it is kept.

    A secret that was kept by the rotation before stops at once.
    """
    endpoint = get_endpoint(session, project_id=project_id, endpoint_id=endpoint_id)
    change(
        session,
        endpoint_id,
        secret=new_secret(),
        old_secret=endpoint.secret if keep_old else None,
        old_secret_until=database_now(plus=OVERLAP_SECONDS, now=now) if keep_old else None,
        updated_at=utcnow(),
    )
    return get_endpoint(session, project_id=project_id, endpoint_id=endpoint_id)


def forget_old_secrets(session: Session, *, now: datetime | None = None) -> int:
    """Take out secrets that sign nothing any more; return how many."""
    over = WebhookEndpoint.old_secret_until < database_now(now=now)
    gone = session.execute(
        update(WebhookEndpoint)
        .where(over)
        .values(old_secret=None, old_secret_until=None)
        .returning(WebhookEndpoint.id)
        .execution_options(**QUIETLY)
    )
    return len(gone.all())


def disable(session: Session, endpoint_id: str, *, reason: str) -> None:
    """Send nothing more to an endpoint: what it is owed counts as failed, and may be replayed later."""
    change(session, endpoint_id, enabled=False, disabled_reason=reason)
    session.execute(
        update(WebhookDelivery)
        .where(WebhookDelivery.endpoint_id == endpoint_id, WebhookDelivery.state == DeliveryState.pending)
        .values(state=DeliveryState.failed, finished_at=utcnow())
        .execution_options(**QUIETLY)
    )


def change(session: Session, endpoint_id: str, **values: Any) -> None:
    """Change an endpoint's row, which is then locked until the transaction ends."""
    session.execute(
        update(WebhookEndpoint)
        .where(WebhookEndpoint.id == endpoint_id)
        .values(values)
        .execution_options(**QUIETLY)
    )


def _written(event_types: Sequence[EventType]) -> list[str]:
    """Return the types in the order of their definition, each once."""
    return [each.value for each in EventType if each in event_types]
