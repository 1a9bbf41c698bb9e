"""The audit log of the project."""

from typing import Annotated

from fastapi import APIRouter, Query

from api.audit.schemas import AuditListing, AuditObject
from api.deps import AdministratorDep, SessionDep
from api.schemas import Listed, page_of
from core import audit

router = APIRouter(prefix="/audit", tags=["audit"])


@router.get("", response_model=Listed[AuditObject])
def list_entries(
    session: SessionDep, who: AdministratorDep, query: Annotated[AuditListing, Query()]
) -> object:
    """List what the project's keys changed, and what they were denied. Needs the scope `admin`."""
    page = audit.list_entries(
        session,
        project_id=who.project_id,
        key_id=query.key_id,
        object_id=query.object_id,
        after=query.after,
        limit=query.limit,
    )
    return page_of([AuditObject.of(entry) for entry in page.items], has_more=page.has_more)
