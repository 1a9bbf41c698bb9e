"""The caller's project."""

from fastapi import APIRouter

from api.deps import CallerDep, SessionDep
from api.projects.schemas import ProjectObject
from core import projects

router = APIRouter(prefix="/project", tags=["project"])


@router.get("", response_model=ProjectObject)
def retrieve(session: SessionDep, who: CallerDep) -> ProjectObject:
    """Return the key's project: what it may use, has reserved and has used.

    Whoever runs the platform sets the limits (`python -m core.projects`).
    """
    return ProjectObject.of(projects.get_project(session, project_id=who.project_id))
