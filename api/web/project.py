"""The project: its quotas, and the other projects that this browser is signed in to."""

from fastapi import APIRouter, Request
from fastapi.responses import Response

from api.deps import SessionDep
from api.web.formats import FILTERS
from api.web.pages import VisitorDep, page
from api.web.quotas import quotas_of
from core import projects
from core.runs import lineup

router = APIRouter(include_in_schema=False)


@router.get("/project")
def project_page(request: Request, session: SessionDep, who: VisitorDep) -> Response:
    """Show what the project may use and uses, and where else this browser is at home."""
    project = projects.get_project(session, project_id=who.project_id)
    running = len(lineup.at_work(session, project_id=who.project_id))
    return page(
        request,
        "platform/project.html",
        who=who,
        project=project,
        quotas=quotas_of(project, running=running),
        filters=FILTERS,
    )
