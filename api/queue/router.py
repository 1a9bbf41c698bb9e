"""The queue, as a project may see it."""

from typing import Annotated

from fastapi import APIRouter, Query

from api.deps import CallerDep, SessionDep
from api.queue.schemas import QueueObject, QueueQuery
from core.runs import lineup

router = APIRouter(prefix="/queue", tags=["workers"])


@router.get("", response_model=QueueObject)
def retrieve(session: SessionDep, who: CallerDep, query: Annotated[QueueQuery, Query()]) -> QueueObject:
    """Return what is at work for the project and what waits: its place, when it may start, what it lacks.

    Other projects' work is told as numbers.
    """
    return QueueObject.of(lineup.line(session, project_id=who.project_id, limit=query.limit))
