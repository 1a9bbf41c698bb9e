"""The queue and the workers: what is at work, what waits and for what, and who works."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from api.deps import SessionDep
from api.web.pages import VisitorDep, page
from core.clock import utcnow
from core.models import UnitKind
from core.runs import lineup

router = APIRouter(include_in_schema=False)

SHOWN = 50


@router.get("/queue")
def queue_page(
    request: Request,
    session: SessionDep,
    who: VisitorDep,
    after: Annotated[str | None, Query(max_length=200)] = None,
) -> Response:
    """Show what is at work and what waits, and the workers; other projects' work is a number."""
    workers = lineup.list_workers(session, project_id=who.project_id, after=after, limit=SHOWN)
    return page(
        request,
        "platform/queue.html",
        who=who,
        line=lineup.line(session, project_id=who.project_id, limit=SHOWN),
        workers=workers.items,
        more_workers=workers.has_more,
        kinds=len(UnitKind),
        now=utcnow().timestamp(),
    )
