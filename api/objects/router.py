"""The folder store's signed links: whoever has one may read, or write, that object until it expires."""

from pathlib import PurePosixPath
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response, StreamingResponse
from pydantic import Field

from api.deps import PlatformDep
from api.files.bodies import chunks_of, in_upload_thread
from api.files.schemas import Digest
from api.ranges import RANGE_ANSWERS
from api.schemas import Input
from api.streams import object_bytes
from core.errors import Invalid, NotFound
from core.storage.objects import Bound, Pulled, buffered, media_type
from core.storage.store import ObjectStore

router = APIRouter(prefix="/objects", tags=["objects"])

BINARY = {"type": "string", "format": "binary", "examples": ["the part's bytes"]}
BYTES: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/octet-stream": {"schema": BINARY, "example": "the bytes of the part"},
        },
    }
}


class Signed(Input):
    """What makes a link valid."""

    expires: int = Field(ge=0, description="Unix seconds.")
    signature: str = Field(max_length=200)


class SignedPut(Signed):
    """What makes a link to write valid: it takes these bytes and no others."""

    length: int = Field(ge=0, description="How many bytes.")
    sha256: Digest | None = Field(None, description="Of the bytes, in hexadecimal.")


def _not_valid() -> NotFound:
    return NotFound("this link is not valid, or no longer; ask for a new one", code="link_invalid")


@router.get("/{key:path}", response_class=StreamingResponse, responses=RANGE_ANSWERS)
def read(key: str, request: Request, parts: PlatformDep, query: Annotated[Signed, Query()]) -> Response:
    """Return an object, or a range of it, by its signed link.

    A link that is wrong or expired says no more than "not found".
    """
    if not parts.store.verify(key, expires=query.expires, signature=query.signature):
        raise _not_valid()
    name = PurePosixPath(key).name
    return object_bytes(parts.store, key, request.headers, filename=name, media_type=media_type(name))


def _store(store: ObjectStore, key: str, body: Pulled, bound: Bound) -> Response:
    try:
        stored = store.put(key, buffered(body), bound.size, sha256=bound.sha256)
    except ValueError as error:
        raise Invalid(f"this link takes other bytes: {error}", code="wrong_bytes") from error
    return Response(headers={"ETag": f'"{stored.sha256}"'})


@router.put("/{key:path}", response_class=Response, openapi_extra=BYTES)
async def write(
    key: str, request: Request, parts: PlatformDep, query: Annotated[SignedPut, Query()]
) -> Response:
    """Store a part of a direct upload by its signed link, which takes no bytes but those it was made for."""
    bound = Bound(query.length, query.sha256)
    if not parts.store.verify_put(key, bound, expires=query.expires, signature=query.signature):
        raise _not_valid()
    return await in_upload_thread(_store, parts.store, key, Pulled(chunks_of(request)), bound)
