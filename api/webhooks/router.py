"""Webhook endpoints, as OpenAI's client knows them, and the log of what was sent to them.

For administrators alone: an endpoint takes a project's events out of the house.
"""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse
from sqlalchemy.orm import Session

from api.deps import AdministratorDep, Once, OnceDep, PlatformDep, SessionDep
from api.schemas import Deleted, Listed, ListQuery, page_of
from api.webhooks.schemas import (
    DeliveryListing,
    DeliveryObject,
    EndpointCreate,
    EndpointObject,
    EndpointTest,
    EndpointTested,
    EndpointUpdate,
    EventTypes,
    FailedReplay,
    Replayed,
    SecretRotate,
)
from core.db import transaction
from core.errors import Invalid
from core.models import WebhookDelivery, WebhookEndpoint
from core.webhooks import deliveries, endpoints, events
from core.webhooks.message import Message, send

router = APIRouter(tags=["webhooks"])
ONE = "/webhook_endpoints/{endpoint_id}"


@router.get("/webhook_event_types", response_model=EventTypes)
def list_event_types(_: AdministratorDep) -> EventTypes:
    """List the events that can be sent."""
    return EventTypes(data=[each.value for each in events.EventType])


@router.post("/webhook_endpoints", response_model=EndpointObject)
def create(body: EndpointCreate, session: SessionDep, who: AdministratorDep, once: OnceDep) -> JSONResponse:
    """Make an endpoint. Its secret is in this answer only; a repeated request is answered without it."""
    kept = once.begin(session)
    if kept is not None:
        return kept
    row = endpoints.create_endpoint(
        session, project_id=who.project_id, name=body.name, url=body.url, event_types=body.event_types
    )
    return _told_once(once, session, row)


@router.get("/webhook_endpoints", response_model=Listed[EndpointObject])
def list_endpoints(session: SessionDep, who: AdministratorDep, query: ListQuery) -> object:
    """List the project's endpoints, without their secrets."""
    page = endpoints.list_endpoints(session, project_id=who.project_id, after=query.after, limit=query.limit)
    return page_of([EndpointObject.of(row) for row in page.items], has_more=page.has_more)


@router.get(ONE, response_model=EndpointObject)
def retrieve(endpoint_id: str, session: SessionDep, who: AdministratorDep) -> EndpointObject:
    """Return one endpoint, without its secret."""
    return EndpointObject.of(
        endpoints.get_endpoint(session, project_id=who.project_id, endpoint_id=endpoint_id)
    )


@router.post(ONE, response_model=EndpointObject)
def update(
    endpoint_id: str, body: EndpointUpdate, session: SessionDep, who: AdministratorDep, once: OnceDep
) -> JSONResponse:
    """Change an endpoint, or enable one that was disabled."""
    return once(
        session,
        lambda: EndpointObject.of(
            endpoints.update_endpoint(
                session,
                project_id=who.project_id,
                endpoint_id=endpoint_id,
                name=body.name,
                url=body.url,
                event_types=body.event_types,
                enabled=body.enabled,
            )
        ),
    )


@router.delete(ONE, response_model=Deleted)
def delete(endpoint_id: str, session: SessionDep, who: AdministratorDep) -> Deleted:
    """Delete an endpoint; what it was owed is not sent any more."""
    endpoints.delete_endpoint(session, project_id=who.project_id, endpoint_id=endpoint_id)
    return Deleted(id=endpoint_id, object="webhook_endpoint.deleted")


@router.post(f"{ONE}/rotate_secret", response_model=EndpointObject)
def rotate_secret(
    endpoint_id: str,
    session: SessionDep,
    who: AdministratorDep,
    once: OnceDep,
    body: SecretRotate | None = None,
) -> JSONResponse:
    """Replace an endpoint's secret. The new one is in this answer only."""
    kept = once.begin(session)
    if kept is not None:
        return kept
    asked = body or SecretRotate()
    row = endpoints.rotate_secret(
        session,
        project_id=who.project_id,
        endpoint_id=endpoint_id,
        keep_old=asked.keep_old_secret_active_for_24_hours,
    )
    return _told_once(once, session, row)


@router.post(f"{ONE}/test", response_model=EndpointTested)
def test(
    endpoint_id: str, body: EndpointTest, parts: PlatformDep, who: AdministratorDep, once: OnceDep
) -> JSONResponse:
    """Send a made-up event now, once, and tell what the endpoint answered."""
    event_id = events.new_event_id()
    with transaction(parts.database) as session:
        kept = once.begin(session)
        if kept is not None:
            return kept
        row = endpoints.get_endpoint(session, project_id=who.project_id, endpoint_id=endpoint_id)
    told = events.body_of(event_id, body.event_type, events.sample_of(body.event_type))
    outcome = send(Message("", event_id, told, row.url, (row.secret,)), settings=parts.settings)
    with transaction(parts.database) as session:
        if outcome.status is None:
            once.abandon(session)
        else:
            answer = EndpointTested(
                webhook_endpoint_id=endpoint_id,
                event_type=body.event_type.value,
                status_code=outcome.status,
            )
            return once.finish(session, answer)
    raise Invalid(f"{endpoint_id} did not answer: {outcome.error}", code="webhook_unreachable")


@router.get(f"{ONE}/deliveries", response_model=Listed[DeliveryObject])
def list_deliveries(
    endpoint_id: str, session: SessionDep, who: AdministratorDep, query: Annotated[DeliveryListing, Query()]
) -> object:
    """List what the endpoint was owed in the last 30 days, with every attempt."""
    page = deliveries.list_deliveries(
        session,
        project_id=who.project_id,
        endpoint_id=endpoint_id,
        state=query.status,
        after=query.after,
        limit=query.limit,
    )
    attempts = deliveries.attempts_of(session, page.items)
    return page_of([DeliveryObject.of(row, attempts[row.id]) for row in page.items], has_more=page.has_more)


@router.get(f"{ONE}/deliveries/{{delivery_id}}", response_model=DeliveryObject)
def retrieve_delivery(
    endpoint_id: str, delivery_id: str, session: SessionDep, who: AdministratorDep
) -> DeliveryObject:
    """Return one delivery with every attempt."""
    row = deliveries.get_delivery(
        session, project_id=who.project_id, endpoint_id=endpoint_id, delivery_id=delivery_id
    )
    return _shown(session, row)


@router.post(f"{ONE}/deliveries/{{delivery_id}}/replay", response_model=DeliveryObject)
def replay(
    endpoint_id: str, delivery_id: str, session: SessionDep, who: AdministratorDep, once: OnceDep
) -> JSONResponse:
    """Send one delivery again, whatever came of it, under the same `webhook-id`."""
    return once(
        session,
        lambda: _shown(
            session,
            deliveries.replay(
                session, project_id=who.project_id, endpoint_id=endpoint_id, delivery_id=delivery_id
            ),
        ),
    )


@router.post(f"{ONE}/replay", response_model=Replayed)
def replay_failed(
    endpoint_id: str, body: FailedReplay, session: SessionDep, who: AdministratorDep, once: OnceDep
) -> JSONResponse:
    """Send again all that failed since a moment, as after an outage."""
    since = datetime.fromtimestamp(body.since, UTC)
    return once(
        session,
        lambda: Replayed(
            webhook_endpoint_id=endpoint_id,
            replayed=deliveries.replay_failed(
                session, project_id=who.project_id, endpoint_id=endpoint_id, since=since
            ),
        ),
    )


def _told_once(once: Once, session: Session, row: WebhookEndpoint) -> JSONResponse:
    """Answer with the secret, and keep the answer without it."""
    once.finish(session, EndpointObject.of(row))
    told = EndpointObject.of(row, told=True).model_dump(mode="json")
    return JSONResponse(told, headers={"Cache-Control": "no-store"})


def _shown(session: Session, row: WebhookDelivery) -> DeliveryObject:
    return DeliveryObject.of(row, deliveries.attempts_of(session, [row])[row.id])
