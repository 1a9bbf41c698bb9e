"""Webhooks: where the project's events are sent, and what came of each."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from api.deps import SessionDep
from api.web.pages import VisitorDep, page
from core.models import DeliveryState
from core.webhooks import deliveries, endpoints
from core.webhooks.events import EventType
from core.webhooks.signing import hint

router = APIRouter(include_in_schema=False)

SHOWN = 25
Place = Annotated[str | None, Query(max_length=200)]


@router.get("/webhooks")
def list_page(request: Request, session: SessionDep, who: VisitorDep, after: Place = None) -> Response:
    """Show the endpoints, and make one."""
    if not who.may("admin"):
        return page(request, "platform/administrators.html", who=who, what="Webhooks")
    found = endpoints.list_endpoints(session, project_id=who.project_id, after=after, limit=SHOWN)
    return page(
        request,
        "platform/webhooks.html",
        who=who,
        endpoints=found.items,
        has_more=found.has_more,
        events=[each.value for each in EventType],
    )


@router.get("/webhooks/{endpoint_id}")
def one_page(
    request: Request,
    session: SessionDep,
    who: VisitorDep,
    endpoint_id: str,
    after: Place = None,
    status: Place = None,
) -> Response:
    """Show one endpoint with its log."""
    if not who.may("admin"):
        return page(request, "platform/administrators.html", who=who, what="Webhooks")
    endpoint = endpoints.get_endpoint(session, project_id=who.project_id, endpoint_id=endpoint_id)
    state = DeliveryState(status) if status in set(DeliveryState) else None
    found = deliveries.list_deliveries(
        session,
        project_id=who.project_id,
        endpoint_id=endpoint_id,
        state=state,
        after=after,
        limit=SHOWN,
    )
    return page(
        request,
        "platform/webhook.html",
        who=who,
        endpoint=endpoint,
        hint=hint(endpoint.secret),
        deliveries=found.items,
        attempts=deliveries.attempts_of(session, found.items),
        has_more=found.has_more,
        after=after,
        chosen=state.value if state else "",
        events=[each.value for each in EventType],
    )
