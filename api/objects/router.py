"""The folder store's signed links. Whoever has the link may read that object until it expires."""

from pathlib import PurePosixPath
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse
from pydantic import Field

from api.deps import PlatformDep
from api.schemas import Input
from api.streams import object_bytes
from core.errors import NotFound
from core.storage.objects import media_type

router = APIRouter(prefix="/objects", tags=["objects"])


class Signed(Input):
    """What makes a link valid."""

    expires: int = Field(ge=0, description="Unix seconds.")
    signature: str = Field(max_length=200)


@router.get("/{key:path}", response_class=StreamingResponse)
def read(key: str, parts: PlatformDep, query: Annotated[Signed, Query()]) -> StreamingResponse:
    """Return an object by its signed link. A link that is wrong or expired says no more than "not found"."""
    if not parts.store.verify(key, expires=query.expires, signature=query.signature):
        raise NotFound("this link is not valid, or no longer; ask for a new one", code="link_invalid")
    name = PurePosixPath(key).name
    return object_bytes(
        parts.store,
        key,
        filename=name,
        media_type=media_type(name),
    )
