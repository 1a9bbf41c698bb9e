"""Uploads: a file in parts, through this API or straight to the store; a lost connection undoes nothing."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse
from sqlalchemy.orm import Session

from api.deps import CallerDep, IdempotencyKey, Once, OnceDep, Platform, PlatformDep, SessionDep, fingerprint
from api.files.bodies import chunks_of, expected_digest, in_upload_thread
from api.files.multipart import MultipartForm
from api.files.router import ExpectedDigest
from api.schemas import Listed, page_of
from api.uploads.schemas import (
    PartListing,
    PartObject,
    UploadComplete,
    UploadCreate,
    UploadObject,
)
from core import files
from core.db import transaction
from core.errors import Invalid
from core.ids import new_id
from core.keys import Caller
from core.storage.store import ObjectStore
from core.uploads import assembly, direct, pieces, uploads

router = APIRouter(prefix="/uploads", tags=["uploads"])

PART_FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["data"],
                    "additionalProperties": False,
                    "properties": {
                        "data": {
                            "type": "string",
                            "format": "binary",
                            "description": f"At most {pieces.LARGEST_PART} bytes.",
                        }
                    },
                    "examples": [{"data": "portraits.part-1"}],
                }
            }
        },
    }
}


def _told(session: Session, store: ObjectStore, *, project_id: str, upload_id: str) -> UploadObject:
    """Return what there is to tell of an upload now."""
    upload = uploads.get_upload(session, project_id=project_id, upload_id=upload_id)
    return UploadObject.of(
        upload,
        file=assembly.completed_file(session, upload=upload),
        urls=direct.part_urls(session, store, upload=upload),
    )


@router.post("", response_model=UploadObject)
def create(
    body: UploadCreate, session: SessionDep, parts: PlatformDep, who: CallerDep, once: OnceDep
) -> JSONResponse:
    """Begin an upload of so many bytes. It is to be completed within a day.

    With `direct` the answer holds `part_urls`: PUT each part to its address (no key is needed there), then
    complete the upload with the parts' ids.
    """
    told: dict[str, Any] = {
        "project_id": who.project_id,
        "filename": body.filename,
        "purpose": body.purpose,
        "mime_type": body.mime_type,
        "size": body.bytes,
        "sha256": body.sha256,
        "keep_seconds": body.expires_after.seconds if body.expires_after is not None else None,
    }

    def begin() -> UploadObject:
        if body.direct:
            upload = direct.create_upload(
                session, part_bytes=body.part_bytes, part_sha256=body.part_sha256, **told
            )
        else:
            upload = uploads.create_upload(session, **told)
        return _told(session, parts.store, project_id=who.project_id, upload_id=upload.id)

    return once(session, begin)


@router.get("/{upload_id}", response_model=UploadObject)
def retrieve(upload_id: str, session: SessionDep, parts: PlatformDep, who: CallerDep) -> UploadObject:
    """Return an upload as it stands; a pending direct one with its part_urls, signed afresh."""
    return _told(session, parts.store, project_id=who.project_id, upload_id=upload_id)


def _receive_part(
    parts: Platform,
    who: Caller,
    upload_id: str,
    once_for: Callable[[str], Once],
    form: MultipartForm,
    expected: str | None,
) -> JSONResponse:
    """Store the bytes, then write the row; what fails half-way leaves no object behind."""
    with transaction(parts.database) as session:
        upload = pieces.open_for_part(session, project_id=who.project_id, upload_id=upload_id)
    part_id = new_id("part-")
    key = uploads.part_key(upload, part_id=part_id)
    stored = parts.store.put(key, form.open_file(), None)
    kept = False
    try:
        form.finish()
        for name in form.fields:
            raise Invalid(f"{name}: unknown field; the form has `data`", param=name, code="extra_forbidden")
        files.check_digest(stored, expected=expected)
        guard = once_for(stored.sha256)
        with transaction(parts.database) as session:
            answer = guard.begin(session)
            if answer is None:
                part = pieces.add_part(
                    session, project_id=who.project_id, upload_id=upload_id, part_id=part_id, stored=stored
                )
                answer = guard.finish(session, PartObject.of(pieces.Received(part, received=True)))
                kept = part.id == part_id
        return answer
    finally:
        # After a commit that failed nobody knows whether the row is there: rather bytes without a row.
        if not kept:
            parts.store.delete(key)


@router.post("/{upload_id}/parts", response_model=PartObject, openapi_extra=PART_FORM)
async def add_part(
    upload_id: str,
    request: Request,
    parts: PlatformDep,
    who: CallerDep,
    expected: ExpectedDigest = None,
    idempotency_key: IdempotencyKey = None,
) -> JSONResponse:
    """Add a part (multipart, field `data`), in any order. Sent again it is the same part, at no cost."""

    def once_for(told: str) -> Once:
        return Once(who.project_id, idempotency_key, fingerprint(request, told.encode()))

    digest = expected_digest(expected, param="X-Content-SHA256")
    form = MultipartForm(
        request.headers.get("content-type", ""),
        chunks_of(request),
        max_file_bytes=pieces.LARGEST_PART,
        field="data",
    )
    return await in_upload_thread(_receive_part, parts, who, upload_id, once_for, form, digest)


@router.get("/{upload_id}/parts", response_model=Listed[PartObject])
def list_parts(
    upload_id: str, parts: PlatformDep, who: CallerDep, query: Annotated[PartListing, Query()]
) -> object:
    """List an upload's parts: what need not be sent again after a lost connection.

    Once the upload is over its parts are deleted, and the list is empty.
    """
    with transaction(parts.database) as session:
        upload = uploads.get_upload(session, project_id=who.project_id, upload_id=upload_id)
        page = pieces.list_parts(
            session, upload=upload, after=query.after, limit=query.limit, ascending=query.order == "asc"
        )
    found = pieces.received(parts.store, upload=upload, parts=page)
    return page_of([PartObject.of(each) for each in found], has_more=page.has_more)


def _complete(parts: Platform, who: Caller, once: Once, upload_id: str, body: UploadComplete) -> JSONResponse:
    def told(session: Session) -> JSONResponse:
        return once.finish(
            session, _told(session, parts.store, project_id=who.project_id, upload_id=upload_id)
        )

    with transaction(parts.database) as session:
        again = once.begin(session)
        if again is not None:
            return again
        upload = uploads.get_upload(session, project_id=who.project_id, upload_id=upload_id)
        if assembly.completed_file(session, upload=upload, sha256=body.sha256) is not None:
            return told(session)
        mine = assembly.claim(
            session,
            project_id=who.project_id,
            upload_id=upload_id,
            part_ids=body.part_ids,
            sha256=body.sha256,
            md5=body.md5,
        )
    try:
        return assembly.complete(parts.database, parts.store, mine, and_then=told)
    except BaseException:
        with transaction(parts.database) as session:
            once.abandon(session)
        raise


@router.post("/{upload_id}/complete", response_model=UploadObject)
async def complete(
    upload_id: str, body: UploadComplete, parts: PlatformDep, who: CallerDep, once: OnceDep
) -> JSONResponse:
    """Make the file of the parts, once they and the whole are what was announced. May be repeated.

    The parts are read and written once more, some seconds for each GB. Whoever asks meanwhile gets 409
    `upload_completing`; if the connection is lost, ask again.
    """
    return await in_upload_thread(_complete, parts, who, once, upload_id, body)


@router.post("/{upload_id}/cancel", response_model=UploadObject)
def cancel(
    upload_id: str, session: SessionDep, parts: PlatformDep, who: CallerDep, once: OnceDep
) -> JSONResponse:
    """Give an upload up; its parts are deleted. May be repeated."""

    def end() -> UploadObject:
        uploads.cancel_upload(session, project_id=who.project_id, upload_id=upload_id)
        return _told(session, parts.store, project_id=who.project_id, upload_id=upload_id)

    return once(session, end)
