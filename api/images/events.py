"""Pictures as server-sent events that OpenAI's clients read: looks at them on their way, then themselves."""

import base64
import json
import struct
import time
from collections.abc import AsyncIterator
from typing import Any

import anyio
from fastapi.concurrency import run_in_threadpool
from sqlalchemy.orm import Session

from api.deps import Platform, in_transaction
from api.images.waiting import check, no_longer_wanted
from core import drawings
from core.errors import AppError, Unavailable
from core.keys import Caller
from core.models import Drawing, DrawingState

KEEPALIVE_SECONDS = 15.0
PARTIAL = "image_generation.partial_image"
COMPLETED = "image_generation.completed"
TOLD = {
    "type": "object",
    "description": f"`event` is `{PARTIAL}`, `{COMPLETED}` (one a picture) or `error`; `data` is JSON.",
    "properties": {name: {"type": "string"} for name in ("event", "data")},
    "required": ["event", "data"],
}
"""What one server-sent event is made of."""


async def follow(parts: Platform, who: Caller, drawing_id: str, *, seconds: float) -> AsyncIterator[bytes]:
    """Yield what happens to a drawing until it has ended; a listener who leaves gives its place to others."""
    ended = False
    try:
        with parts.listeners.track_inprogress():
            async for event in _happenings(parts, who, drawing_id, time.monotonic() + seconds):
                yield event
        ended = True
    except AppError as error:
        told = {"message": error.message, "type": error.type, "param": error.param, "code": error.code}
        yield _event("error", {"error": told | {"status": error.status}})
    finally:
        if not ended:
            with anyio.CancelScope(shield=True):
                await no_longer_wanted(parts, who, drawing_id)


async def _happenings(parts: Platform, who: Caller, drawing_id: str, deadline: float) -> AsyncIterator[bytes]:
    known, told = None, 0
    while known is None or not known.ended:
        left = deadline - time.monotonic()
        sight = await parts.watch.news(drawing_id, known, seconds=min(left, KEEPALIVE_SECONDS))
        if sight is None:
            if parts.stopping.is_set():
                raise Unavailable(f"{drawing_id} is not drawn yet, and this server stops; try again")
            if left <= KEEPALIVE_SECONDS:
                break
            # Without an empty line: after one, OpenAI's client takes even a comment for an event.
            yield b": still here\n"
            continue
        if sight.partials > told:
            drawing = await _look(parts, who, drawing_id)
            for partial in (drawing.partials or [])[told:]:
                yield await run_in_threadpool(_partial, parts, drawing, partial)
            told = sight.partials
        known = sight
    drawing = await _look(parts, who, drawing_id, overdue=known is None or not known.ended)
    check(drawing)
    assert drawing.state is DrawingState.succeeded, "it has ended, and not in vain"
    assert drawing.result is not None, "a drawing that succeeded has its pictures"
    for file, seed in zip(drawing.result["files"], drawing.request["seeds"], strict=True):
        yield await run_in_threadpool(_completed, parts, drawing, file["key"], seed)


async def _look(parts: Platform, who: Caller, drawing_id: str, *, overdue: bool = False) -> Drawing:
    def read(session: Session) -> Drawing:
        if overdue:
            drawings.expire(session)
        return drawings.get_drawing(session, project_id=who.project_id, drawing_id=drawing_id)

    return await in_transaction(parts, read)


def _partial(parts: Platform, drawing: Drawing, partial: dict[str, Any]) -> bytes:
    told = _picture(parts, drawing, partial["key"], drawing.request["seeds"][partial["picture"]])
    return _event(PARTIAL, told | {"type": PARTIAL, "partial_image_index": partial["index"]})


def _completed(parts: Platform, drawing: Drawing, key: str, seed: int) -> bytes:
    return _event(COMPLETED, _picture(parts, drawing, key, seed) | {"type": COMPLETED})


def _picture(parts: Platform, drawing: Drawing, key: str, seed: int) -> dict[str, Any]:
    with parts.store.open(key) as stream:
        data = stream.read()
    width, height = struct.unpack(">II", data[16:24])  # of a PNG's first chunk
    return {
        "id": drawing.id,
        "b64_json": base64.b64encode(data).decode(),
        "created_at": int(time.time()),
        "size": f"{width}x{height}",
        "seed": seed,
        "background": "opaque",
        "output_format": "png",
        "quality": "auto",
    }


def _event(name: str, told: dict[str, Any]) -> bytes:
    return f"event: {name}\ndata: {json.dumps(told)}\n\n".encode()
