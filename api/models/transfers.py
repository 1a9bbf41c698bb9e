"""Models that leave for other programs, and models that come from them: made by a worker, polled here."""

from typing import Annotated

from fastapi import APIRouter, Path, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from api.deps import CallerDep, OnceDep, PlatformDep, SessionDep
from api.models.schemas import ExportCreate, ExportObject, ImportCreate, ImportObject
from api.ranges import RANGE_ANSWERS
from api.schemas import Listed, ListQuery, page_of
from api.streams import object_bytes
from core.db import transaction
from core.models import ExportFormat
from core.transfers import exports, imports

router = APIRouter(prefix="/models", tags=["models"])

NOT_READY = {
    "description": "The export is not ready.",
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
}
FILE_TYPES = {ExportFormat.diffusers: "application/zip"}
Format = Annotated[ExportFormat, Path(description="What the export was asked for.")]


@router.post("/imports", response_model=ImportObject)
def start_import(body: ImportCreate, session: SessionDep, who: CallerDep, once: OnceDep) -> JSONResponse:
    """Make a model of an uploaded file. It answers at once; ``status`` tells when it is ready.

    The file is a zip or tar of a diffusers folder, or a LoRA in the layout of diffusers, of kohya's scripts
    (ComfyUI, AUTOMATIC1111) or of peft. Only safetensors are read; what brings code, or does not load by its
    own config, is refused.
    """
    return once(
        session,
        lambda: ImportObject.of(
            imports.request_import(
                session,
                project_id=who.project_id,
                file_id=body.file,
                name=body.name,
                base_model=body.base_model,
                alpha=body.alpha,
                licence=body.licence,
                notes=body.notes,
                key_id=who.key_id,
            )
        ),
    )


@router.get("/imports", response_model=Listed[ImportObject])
def list_imports(session: SessionDep, who: CallerDep, query: ListQuery) -> object:
    """List the project's imports, newest first, also those that were refused."""
    page = imports.list_imports(session, project_id=who.project_id, after=query.after, limit=query.limit)
    return page_of([ImportObject.of(each) for each in page.items], has_more=page.has_more)


@router.get("/imports/{import_id}", response_model=ImportObject)
def retrieve_import(import_id: str, session: SessionDep, who: CallerDep) -> ImportObject:
    """Return an import: the model it has become, or why it came to nothing."""
    return ImportObject.of(imports.get_import(session, project_id=who.project_id, import_id=import_id))


@router.post("/{model_id}/exports", response_model=ExportObject)
def start_export(
    model_id: str, body: ExportCreate, session: SessionDep, who: CallerDep, once: OnceDep
) -> JSONResponse:
    """Write a model in a form that other programs read, unless it is there already.

    It answers at once; ``status`` tells when it can be downloaded. What was trained whole has no LoRA: 409.
    """
    return once(
        session,
        lambda: ExportObject.of(
            exports.request_export(
                session,
                project_id=who.project_id,
                model=model_id,
                form=body.format,
                key_id=who.key_id,
            )
        ),
    )


@router.get("/{model_id}/exports", response_model=Listed[ExportObject])
def list_exports(model_id: str, session: SessionDep, who: CallerDep, query: ListQuery) -> object:
    """List a model's exports, newest first. What nobody asks for is deleted after some days."""
    page = exports.list_exports(
        session, project_id=who.project_id, model=model_id, after=query.after, limit=query.limit
    )
    return page_of([ExportObject.of(each) for each in page.items], has_more=page.has_more)


@router.get("/{model_id}/exports/{format}", response_model=ExportObject)
def retrieve_export(model_id: str, format: Format, session: SessionDep, who: CallerDep) -> ExportObject:  # noqa: A002  as the address has it
    """Return a model's newest export in a form."""
    found = exports.get_export(session, project_id=who.project_id, model=model_id, form=format)
    return ExportObject.of(found)


@router.get(
    "/{model_id}/exports/{format}/content",
    response_class=StreamingResponse,
    responses=RANGE_ANSWERS | {409: NOT_READY},
)
def download_export(
    model_id: str,
    format: Format,  # noqa: A002  as the address has it
    request: Request,
    parts: PlatformDep,
    who: CallerDep,
) -> Response:
    """Download an export that is ready, whole or a range of it."""
    with transaction(parts.database) as session:
        found = exports.get_export(session, project_id=who.project_id, model=model_id, form=format)
        key = exports.note_use(session, found)
    return object_bytes(
        parts.store,
        key,
        request.headers,
        filename=found.filename,
        media_type=FILE_TYPES.get(format, "application/octet-stream"),
        tag=found.sha256,
    )
