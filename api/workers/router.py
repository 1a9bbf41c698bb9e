"""The platform's workers, as a project may see them."""

from fastapi import APIRouter

from api.deps import CallerDep, SessionDep
from api.schemas import Listed, ListQuery, page_of
from api.workers.schemas import WorkerObject
from core.runs import lineup

router = APIRouter(prefix="/workers", tags=["workers"])


@router.get("", response_model=Listed[WorkerObject])
def list_workers(session: SessionDep, who: CallerDep, query: ListQuery) -> object:
    """List the workers that were seen in the last week, by name.

    They work for all projects. What one does is told where it is this project's; another's is `busy` alone.
    """
    page = lineup.list_workers(session, project_id=who.project_id, after=query.after, limit=query.limit)
    return page_of([WorkerObject.of(each) for each in page.items], has_more=page.has_more)
