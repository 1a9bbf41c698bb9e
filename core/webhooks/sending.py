"""Who sends what, and when again: endpoints are claimed, their deliveries sent one after the other.

A claim takes the endpoint's lease and raises its fence in one statement, so that two beats never send to one
endpoint at once, a slow endpoint holds up nobody else, and events arrive in their order while all is well.
What was sent by a process that died before it could write so is sent again, under the same ``webhook-id``.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, select, update
from sqlalchemy.orm import Session, aliased

from core.clock import database_now, utcnow
from core.errors import StaleFence
from core.ids import new_id
from core.models import DeliveryState, WebhookAttempt, WebhookDelivery, WebhookEndpoint
from core.webhooks.endpoints import QUIETLY, change, disable
from core.webhooks.message import Message
from core.webhooks.post import Outcome

# Seconds after each failure until the next attempt: the schedule of Standard Webhooks, three days in all.
SCHEDULE = (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
SPREAD = 0.2
LONGEST_WAIT = 86_400.0
HOPELESS_AFTER = timedelta(days=3)
LEASE_SECONDS = 120.0  # more than one request and its look-up of a name can take
TRIES = 16


@dataclass(frozen=True)
class Claim:
    """Proof that a sender holds an endpoint."""

    endpoint_id: str
    fence: int


def wait_after(failures: int, *, asked: float | None = None, jitter: float = 0.0) -> float | None:
    """Return the seconds until the next attempt after so many failures; None when there is none.

    Args:
        failures: from 1.
        asked: Retry-After, which may make the wait longer, up to a day.
        jitter: from 0 to 1; up to a fifth is added, so that what failed together does not come back together.
    """
    if failures > len(SCHEDULE):
        return None
    wait = SCHEDULE[failures - 1] * (1 + SPREAD * jitter)
    return max(wait, min(asked or 0.0, LONGEST_WAIT))


def claim_endpoint(session: Session, *, now: datetime | None = None) -> Claim | None:
    """Take the endpoint that has waited longest among those that are owed something now."""
    candidate = aliased(WebhookEndpoint)
    owed = select(WebhookDelivery.id).where(
        WebhookDelivery.endpoint_id == candidate.id,
        WebhookDelivery.state == DeliveryState.pending,
        WebhookDelivery.due_at <= database_now(now=now),
    )
    first = (
        select(candidate.id)
        .where(_free(candidate, now), owed.exists())
        .order_by(candidate.busy_until, candidate.id)
        .limit(1)
    )
    for _ in range(TRIES):
        taken = session.execute(
            update(WebhookEndpoint)
            .where(WebhookEndpoint.id == first.scalar_subquery(), _free(WebhookEndpoint, now))
            .values(busy_until=database_now(plus=LEASE_SECONDS, now=now), fence=WebhookEndpoint.fence + 1)
            .returning(WebhookEndpoint.id, WebhookEndpoint.fence)
            .execution_options(**QUIETLY)
        ).first()
        if taken is not None:
            return Claim(taken.id, taken.fence)
        if session.scalar(first) is None:
            return None
    return None


def next_message(session: Session, claim: Claim, *, now: datetime | None = None) -> Message | None:
    """Return what the endpoint is owed first, with its address and secrets of now; None when nothing is due.

    Raises:
        StaleFence: another sender has taken the endpoint, or it was deleted.
    """
    endpoint = _hold(session, claim, now)
    delivery = session.scalar(
        select(WebhookDelivery)
        .where(
            WebhookDelivery.endpoint_id == claim.endpoint_id,
            WebhookDelivery.state == DeliveryState.pending,
            WebhookDelivery.due_at <= database_now(now=now),
        )
        .order_by(WebhookDelivery.due_at, WebhookDelivery.id)
        .limit(1)
    )
    if delivery is None:
        return None
    overlap = endpoint.old_secret_until is not None and endpoint.old_secret_until > (now or utcnow())
    keys = (endpoint.secret, endpoint.old_secret) if overlap else (endpoint.secret,)
    return Message(
        delivery_id=delivery.id,
        event_id=delivery.event_id,
        body=delivery.body,
        url=endpoint.url,
        keys=tuple(filter(None, keys)),
    )


def record(
    session: Session,
    claim: Claim,
    message: Message,
    outcome: Outcome,
    *,
    jitter: float,
    now: datetime | None = None,
) -> None:
    """Write what came of a request, and what follows: the end, the next attempt, or the endpoint's end.

    An endpoint that says 410 is disabled; so is one whose delivery is given up while nothing has got through
    for three days.

    Raises:
        StaleFence: another sender has taken the endpoint; nothing was written.
    """
    endpoint = _hold(session, claim, now)
    session.add(
        WebhookAttempt(
            id=new_id("wha-"),
            delivery_id=message.delivery_id,
            began_at=outcome.began_at,
            milliseconds=outcome.milliseconds,
            status=outcome.status,
            error=outcome.error,
            answer=outcome.answer,
        )
    )
    session.flush()
    if outcome.delivered:
        _change(session, message, state=DeliveryState.succeeded, finished_at=utcnow())
        change(session, claim.endpoint_id, failing_since=None)
        return
    failing_since = endpoint.failing_since or now or utcnow()
    change(session, claim.endpoint_id, failing_since=failing_since)
    delivery = session.get_one(WebhookDelivery, message.delivery_id, populate_existing=True)
    failures = delivery.failures + 1
    wait = None if outcome.gone else wait_after(failures, asked=outcome.retry_after, jitter=jitter)
    if wait is not None:
        _change(session, message, failures=failures, due_at=database_now(plus=wait, now=now))
        return
    _change(session, message, failures=failures, state=DeliveryState.failed, finished_at=utcnow())
    if outcome.gone:
        disable(session, claim.endpoint_id, reason="It answered 410 Gone.")
    elif failing_since <= (now or utcnow()) - HOPELESS_AFTER:
        told = f"Nothing got through since {failing_since:%Y-%m-%d %H:%M} UTC."
        disable(session, claim.endpoint_id, reason=told)


def release(session: Session, claim: Claim, *, now: datetime | None = None) -> None:
    """Let others take the endpoint, if it is still the claim's."""
    session.execute(
        update(WebhookEndpoint)
        .where(WebhookEndpoint.id == claim.endpoint_id, WebhookEndpoint.fence == claim.fence)
        .values(busy_until=database_now(now=now))
        .execution_options(**QUIETLY)
    )


def _hold(session: Session, claim: Claim, now: datetime | None) -> WebhookEndpoint:
    """Prove the claim, extend its lease, and return the endpoint as it is, locked."""
    held = session.scalar(
        update(WebhookEndpoint)
        .where(
            WebhookEndpoint.id == claim.endpoint_id,
            WebhookEndpoint.fence == claim.fence,
            WebhookEndpoint.deleted_at.is_(None),
        )
        .values(busy_until=database_now(plus=LEASE_SECONDS, now=now))
        .returning(WebhookEndpoint.id)
        .execution_options(**QUIETLY)
    )
    if held is None:
        raise StaleFence(f"{claim.endpoint_id}: fence {claim.fence} is stale")
    return session.get_one(WebhookEndpoint, held, populate_existing=True)


def _free(endpoint: Any, now: datetime | None) -> ColumnElement[bool]:
    return and_(endpoint.busy_until <= database_now(now=now), endpoint.enabled)


def _change(session: Session, message: Message, **values: Any) -> None:
    """Change a delivery that is still owed: one that was called off meanwhile stays so."""
    session.execute(
        update(WebhookDelivery)
        .where(WebhookDelivery.id == message.delivery_id, WebhookDelivery.state == DeliveryState.pending)
        .values(values)
        .execution_options(**QUIETLY)
    )
