"""The audit log: who changed what, and what was not allowed."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from api.deps import SessionDep
from api.web.links import page_of
from api.web.pages import VisitorDep, page
from core import audit, keys

router = APIRouter(include_in_schema=False)

SHOWN = 50
KEYS = 100
Place = Annotated[str | None, Query(max_length=200)]


@router.get("/audit")
def audit_page(
    request: Request,
    session: SessionDep,
    who: VisitorDep,
    key: Place = None,
    of: Place = None,
    after: Place = None,
) -> Response:
    """Show the log, or what one key did, or what was done to one thing."""
    if not who.may("admin"):
        return page(request, "platform/administrators.html", who=who, what="Audit log")
    found = audit.list_entries(
        session,
        project_id=who.project_id,
        key_id=(key or "").strip() or None,
        object_id=(of or "").strip() or None,
        after=after,
        limit=SHOWN,
    )
    known = keys.list_keys(session, project_id=who.project_id, limit=KEYS).items
    return page(
        request,
        "platform/audit.html",
        who=who,
        entries=found.items,
        has_more=found.has_more,
        keys=known,
        names=keys.names_of(session, key_ids={entry.key_id for entry in found.items}),
        key=key or "",
        of=of or "",
        page_of=page_of,
    )
