"""Keys of the project: made, rotated and revoked by its administrators."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from api.deps import SessionDep
from api.web.pages import VisitorDep, page
from core import keys
from core.clock import utcnow

router = APIRouter(include_in_schema=False)

SHOWN = 25
SCOPES = (
    ("read", "Read", "look at everything"),
    ("train", "Train", "upload, make datasets and jobs, delete"),
    ("serve", "Serve", "have pictures drawn"),
    ("admin", "Administer", "make, rotate and revoke keys, set webhooks, read the audit log"),
)


@router.get("/keys")
def keys_page(
    request: Request,
    session: SessionDep,
    who: VisitorDep,
    after: Annotated[str | None, Query(max_length=200)] = None,
) -> Response:
    """Show the keys, without their secrets."""
    if not who.may("admin"):
        return page(request, "platform/administrators.html", who=who, what="Keys")
    found = keys.list_keys(session, project_id=who.project_id, after=after, limit=SHOWN)
    return page(
        request,
        "platform/keys.html",
        who=who,
        keys=found.items,
        has_more=found.has_more,
        scopes=SCOPES,
        scopes_of=keys.scopes_of,
        now=utcnow(),
    )
