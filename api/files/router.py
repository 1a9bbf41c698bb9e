"""Files: bytes in, streamed to the store; bytes out, streamed from it."""

from collections.abc import AsyncIterator, Callable
from typing import Annotated, get_args

import anyio
import anyio.from_thread
import anyio.to_thread
from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, StreamingResponse

from api.deps import (
    CallerDep,
    IdempotencyKey,
    Once,
    Platform,
    PlatformDep,
    SessionDep,
    fingerprint,
)
from api.files.multipart import MultipartForm
from api.files.schemas import FileListing, FileObject, Purpose
from api.schemas import Deleted, Listed, page_of
from api.streams import object_bytes
from core import files
from core.db import transaction
from core.errors import Invalid
from core.keys import Caller

router = APIRouter(prefix="/files", tags=["files"])

UPLOAD_FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file", "purpose"],
                    "additionalProperties": False,
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        "purpose": {"type": "string", "enum": list(get_args(Purpose))},
                    },
                }
            }
        },
    }
}
# A slow upload holds a thread; these must not be the ones that answer everyone else.
uploading = anyio.CapacityLimiter(32)


def _purpose(fields: dict[str, str], *, required: bool) -> str | None:
    """Check the text fields of the form."""
    for name in fields:
        if name != "purpose":
            raise Invalid(
                f"{name}: unknown field; the form has `file` and `purpose`",
                param=name,
                code="extra_forbidden",
            )
    purpose = fields.get("purpose")
    if purpose is None and required:
        raise Invalid('purpose: this field is required; send "fine-tune"', param="purpose", code="missing")
    if purpose is not None and purpose not in get_args(Purpose):
        raise Invalid(
            f"purpose: must be one of {', '.join(get_args(Purpose))}, not {purpose[:80]!r}",
            param="purpose",
            code="unknown_purpose",
        )
    return purpose


def _receive(
    parts: Platform,
    who: Caller,
    once_for: Callable[[str], Once],
    form: MultipartForm,
) -> JSONResponse:
    """Store the bytes, then write the row; what fails half-way leaves no object behind."""
    file_id = files.new_id()
    stream = form.open_file()
    _purpose(form.fields, required=False)
    key = files.object_key(project_id=who.project_id, file_id=file_id)
    stored = parts.store.put(key, stream, None)
    kept = False
    try:
        form.finish()
        purpose = _purpose(form.fields, required=True)
        assert purpose is not None, "a required field"
        assert form.filename is not None, "open_file() found it"
        filename = form.filename
        guard = once_for(f"{stored.sha256}\n{filename}\n{purpose}")
        with transaction(parts.database) as session:
            answer = guard.begin(session)
            if answer is None:
                row = files.create_file(
                    session,
                    project_id=who.project_id,
                    file_id=file_id,
                    filename=filename,
                    purpose=purpose,
                    stored=stored,
                    key=key,
                )
                answer = guard.finish(session, FileObject.of(row))
                kept = True
        return answer
    finally:
        # After a commit that failed nobody knows whether the row is there: rather bytes without a row.
        if not kept:
            parts.store.delete(key)


@router.post("", response_model=FileObject, openapi_extra=UPLOAD_FORM)
async def upload(
    request: Request, parts: PlatformDep, who: CallerDep, idempotency_key: IdempotencyKey = None
) -> JSONResponse:
    """Upload a file (multipart). Its bytes go to the store as they arrive; the answer has their sha256."""

    async def pieces() -> AsyncIterator[bytes]:
        async for piece in request.stream():
            if piece:
                yield piece

    body = pieces()

    async def next_piece() -> bytes:
        return await anext(body, b"")

    def chunk() -> bytes:
        return anyio.from_thread.run(next_piece)

    def once_for(told: str) -> Once:
        return Once(who.project_id, idempotency_key, fingerprint(request, told.encode()))

    form = MultipartForm(
        request.headers.get("content-type", ""), chunk, max_file_bytes=parts.settings.max_file_bytes
    )
    return await anyio.to_thread.run_sync(_receive, parts, who, once_for, form, limiter=uploading)


@router.get("", response_model=Listed[FileObject])
def list_files(session: SessionDep, who: CallerDep, query: Annotated[FileListing, Query()]) -> object:
    """List the project's files."""
    page = files.list_files(
        session,
        project_id=who.project_id,
        after=query.after,
        limit=query.limit,
        purpose=query.purpose,
        ascending=query.order == "asc",
    )
    return page_of([FileObject.of(file) for file in page.items], has_more=page.has_more)


@router.get("/{file_id}", response_model=FileObject)
def retrieve(file_id: str, session: SessionDep, who: CallerDep) -> FileObject:
    """Return one file's description."""
    return FileObject.of(files.get_file(session, project_id=who.project_id, file_id=file_id))


@router.delete("/{file_id}", response_model=Deleted)
def delete(file_id: str, session: SessionDep, who: CallerDep) -> Deleted:
    """Delete a file. Datasets made from it stay."""
    files.delete_file(session, project_id=who.project_id, file_id=file_id)
    return Deleted(id=file_id, object="file")


@router.get("/{file_id}/content", response_class=StreamingResponse)
def content(file_id: str, parts: PlatformDep, who: CallerDep) -> StreamingResponse:
    """Return the bytes that were uploaded."""
    with transaction(parts.database) as session:
        file = files.get_file(session, project_id=who.project_id, file_id=file_id)
    return object_bytes(parts.store, file.key, filename=file.filename)
