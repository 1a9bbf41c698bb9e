"""Files: bytes in, streamed to the store; bytes out, streamed from it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Self, get_args

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import TypeAdapter, ValidationError

from api.deps import (
    CallerDep,
    IdempotencyKey,
    Once,
    Platform,
    PlatformDep,
    SessionDep,
    fingerprint,
)
from api.errors import field_message
from api.files.bodies import chunks_of, expected_digest, in_upload_thread, within_room
from api.files.multipart import MultipartForm
from api.files.schemas import ExpiresAfter, FileListing, FileObject, Purpose
from api.ranges import RANGE_ANSWERS
from api.schemas import Deleted, Listed, page_of
from api.streams import object_bytes
from core import blobs, files
from core.db import transaction
from core.errors import Invalid
from core.keys import Caller

router = APIRouter(prefix="/files", tags=["files"])

ANCHOR, SECONDS = "expires_after[anchor]", "expires_after[seconds]"
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
                        "sha256": {
                            "type": "string",
                            "description": "Of the file, in hexadecimal: a file that has another is refused.",
                        },
                        ANCHOR: {"type": "string", "enum": ["created_at"]},
                        SECONDS: {"type": "integer", "description": "When the file is deleted by itself."},
                    },
                    "examples": [{"file": "pictures.zip", "purpose": "fine-tune"}],
                }
            }
        },
    }
}
ExpectedDigest = Annotated[
    str | None,
    Header(
        alias="X-Content-SHA256",
        max_length=100,
        description="The sha256 of the file's bytes, in hexadecimal: others are refused.",
    ),
]


@dataclass(frozen=True)
class _Told:
    """What the form's text fields say."""

    purpose: str
    sha256: str | None
    keep_seconds: int | None

    @classmethod
    def of(cls, fields: dict[str, str]) -> Self:
        purpose = fields.get("purpose")
        if purpose is None:
            raise Invalid(
                'purpose: this field is required; send "fine-tune"', param="purpose", code="missing"
            )
        return cls(purpose, expected_digest(fields.get("sha256"), param="sha256"), _keep_seconds(fields))


def _refuse_wrong_fields(fields: dict[str, str]) -> None:
    """Refuse what can be seen to be wrong before the file comes."""
    known = ("purpose", "sha256", ANCHOR, SECONDS)
    for name in fields:
        if name not in known:
            raise Invalid(
                f"{name}: unknown field; the form has `file` and {', '.join(f'`{each}`' for each in known)}",
                param=name,
                code="extra_forbidden",
            )
    purpose = fields.get("purpose")
    if purpose is not None and purpose not in get_args(Purpose):
        raise Invalid(
            f"purpose: must be one of {', '.join(get_args(Purpose))}, not {purpose[:80]!r}",
            param="purpose",
            code="unknown_purpose",
        )


def _keep_seconds(fields: dict[str, str]) -> int | None:
    """Read OpenAI's ``expires_after``, whose parts are fields of their own in a form."""
    given = {
        name: fields[full] for name, full in (("anchor", ANCHOR), ("seconds", SECONDS)) if full in fields
    }
    if not given:
        return None
    try:
        return TypeAdapter(ExpiresAfter).validate_strings(given).seconds
    except ValidationError as error:
        first = error.errors()[0]
        path = f"expires_after[{first['loc'][0]}]"
        raise Invalid(field_message({**first, "loc": (path,)}), param=path, code=first["type"]) from error


def _receive(
    parts: Platform,
    who: Caller,
    once_for: Callable[[str], Once],
    form: MultipartForm,
    expected: str | None,
) -> JSONResponse:
    """Store the bytes, then write the row; what fails half-way leaves no object behind."""
    with transaction(parts.database) as session:
        room = blobs.room(session, project_id=who.project_id)
    file_id = files.new_id()
    stream = form.open_file()
    _refuse_wrong_fields(form.fields)
    key = files.object_key(project_id=who.project_id, file_id=file_id)
    stored = parts.store.put(key, within_room(stream, room), None)
    file = None
    try:
        form.finish()
        _refuse_wrong_fields(form.fields)
        told = _Told.of(form.fields)
        for digest in (expected, told.sha256):
            files.check_digest(stored, expected=digest)
        assert form.filename is not None, "open_file() found it"
        guard = once_for(f"{stored.sha256}\n{form.filename}\n{told.purpose}\n{told.keep_seconds}")
        with transaction(parts.database) as session:
            answer = guard.begin(session)
            if answer is None:
                file = files.create_file(
                    session,
                    project_id=who.project_id,
                    file_id=file_id,
                    filename=form.filename,
                    purpose=told.purpose,
                    stored=stored,
                    key=key,
                    keep_seconds=told.keep_seconds,
                )
                answer = guard.finish(session, FileObject.of(file))
    finally:
        # After a commit that failed nobody knows whether the row is there: rather bytes without a row.
        if file is None:
            parts.store.delete(key)
    if file is not None:
        files.settle(parts.database, parts.store, file=file, key=key)
    return answer


@router.post("", response_model=FileObject, openapi_extra=UPLOAD_FORM)
async def upload(
    request: Request,
    parts: PlatformDep,
    who: CallerDep,
    expected: ExpectedDigest = None,
    idempotency_key: IdempotencyKey = None,
) -> JSONResponse:
    """Upload a file (multipart). Its bytes go to the store as they arrive; the answer has their sha256.

    A file of several GB is better sent in parts (`/v1/uploads`): what breaks off can then be resumed.
    """

    def once_for(told: str) -> Once:
        return Once(who.project_id, idempotency_key, fingerprint(request, told.encode()))

    digest = expected_digest(expected, param="X-Content-SHA256")
    form = MultipartForm(
        request.headers.get("content-type", ""),
        chunks_of(request),
        max_file_bytes=parts.settings.max_file_bytes,
    )
    return await in_upload_thread(_receive, parts, who, once_for, form, digest)


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


@router.get("/{file_id}/content", response_class=StreamingResponse, responses=RANGE_ANSWERS)
def content(file_id: str, request: Request, parts: PlatformDep, who: CallerDep) -> Response:
    """Return the bytes that were uploaded, or a range of them. The ETag is their sha256."""
    with transaction(parts.database) as session:
        file = files.get_file(session, project_id=who.project_id, file_id=file_id)
    return object_bytes(parts.store, file.key, request.headers, filename=file.filename, tag=file.sha256)
