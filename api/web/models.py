"""Models: registered names, base models, results and imports in one list, and what comes from outside."""

from datetime import timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from api.deps import PlatformDep, SessionDep
from api.web.links import steady_url
from api.web.pages import VisitorDep, page
from core import registry
from core.clock import utcnow
from core.models import ModelImport, ModelKind, TransferState
from core.registered import lookup, names
from core.runs.thumbnails import thumbnails
from core.transfers import imports

router = APIRouter(include_in_schema=False)

SHOWN = 25
NAMES = 12
IMPORTS = 5
Place = Annotated[str | None, Query(max_length=200)]
Listed = Literal["", ModelKind.base, ModelKind.result, ModelKind.imported]


@router.get("/models")
def listed(
    request: Request,
    session: SessionDep,
    parts: PlatformDep,
    who: VisitorDep,
    q: Annotated[str, Query(max_length=100)] = "",
    kind: Listed = "",
    after: Place = None,
    names_after: Place = None,
) -> Response:
    """Show what the project has; a filter leaves only models that match."""
    found = registry.list_models(
        session,
        project_id=who.project_id,
        after=after,
        limit=SHOWN,
        kind=ModelKind(kind) if kind else None,
        search=q.strip() or None,
    )
    shown = thumbnails(session, [model.job_id for model in found.items if model.job_id is not None])
    registered = names.list_names(session, project_id=who.project_id, after=names_after, limit=NAMES)
    coming = imports.list_imports(session, project_id=who.project_id, after=None, limit=IMPORTS)
    return page(
        request,
        "models/list.html",
        who=who,
        found=found,
        named=names.describe(session, registered.items),
        more_names=registered.has_more,
        pictures={job: steady_url(parts.store, key) for job, key in shown.items()},
        versions=lookup.versions_of(session, [model.id for model in found.items]),
        imports=[one for one in coming.items if one.state is not TransferState.ready or _is_new(one)],
        q=q,
        kind=kind,
        whole=not (q or kind or after),
    )


@router.get("/models/imports/new")
def new_import(request: Request, session: SessionDep, who: VisitorDep) -> Response:
    """Ask for a file that becomes a model."""
    bases = registry.list_models(
        session, project_id=who.project_id, after=None, limit=100, kind=ModelKind.base
    )
    return page(request, "models/import.html", who=who, bases=[model.id for model in bases.items])


def _is_new(one: ModelImport) -> bool:
    return utcnow() - one.created_at < timedelta(days=1)
