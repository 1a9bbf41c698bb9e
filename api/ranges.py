"""Conditions and ranges of a GET (RFC 9110, sections 13 and 14): what the client has, what it lacks."""

import re
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException

ONE_RANGE = re.compile(r"bytes=\s*(\d{0,18})-(\d{0,18})\s*", re.IGNORECASE)
RANGE_ANSWERS: dict[int | str, dict[str, Any]] = {
    206: {"description": "The range that `Range` asked for."},
    304: {"description": "What `If-None-Match` names is still what there is."},
    416: {
        "description": "The range begins behind the end; `Content-Range` tells the size.",
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    },
}


@dataclass(frozen=True)
class Span:
    """Some bytes of an object."""

    start: int
    length: int

    def told(self, size: int) -> str:
        """Return the Content-Range."""
        return f"bytes {self.start}-{self.start + self.length - 1}/{size}"


def is_known(asked: Headers, etag: str) -> bool:
    """Tell whether the client has these bytes already."""
    known = asked.get("if-none-match")
    if known is None:
        return False
    tags = [tag.strip().removeprefix("W/") for tag in known.split(",")]
    return etag in tags or tags == ["*"]


def asked_range(asked: Headers, *, size: int, etag: str) -> Span | None:
    """Return the one range that is asked for; None when the whole is to be sent.

    Several ranges, other units and nonsense are answered with the whole, as is a range of bytes that the
    client had before they changed (If-Range).

    Raises:
        HTTPException: 416, when the range begins behind the end.
    """
    found = ONE_RANGE.fullmatch(asked.get("range", ""))
    if found is None or asked.get("if-range", etag) != etag:
        return None
    first, last = found.groups()
    if not first and not last:
        return None
    if not first:
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
    if first and last and int(last) < int(first):
        return None
    if start >= size or end <= start:
        raise HTTPException(
            416,
            f"Range: there are {size} bytes, the first is byte 0; ask for some of those",
            headers={"Content-Range": f"bytes */{size}"},
        )
    return Span(start, end - start)
