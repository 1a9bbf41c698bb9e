"""Waiting for pictures, and giving their place to others when nobody waits any more."""

import time

from fastapi import Request
from sqlalchemy.orm import Session

from api.deps import Platform, in_transaction
from core import drawings
from core.errors import AppError, Invalid, Unavailable
from core.keys import Caller
from core.models import Drawing, DrawingState, Reason

PASSING = (Reason.worker_lost, Reason.device_lost, Reason.disk_full)


def check(drawing: Drawing) -> None:
    """Raise what a drawing that came to nothing has to tell."""
    if drawing.state is DrawingState.cancelled:
        raise Unavailable(f"{drawing.id} was cancelled", code="drawing_cancelled")
    if drawing.state is not DrawingState.failed:
        return
    failure = drawing.failure or {}
    reason, message = failure.get("reason"), f"{drawing.id}: {failure.get('message', 'the drawing failed')}"
    if reason == Reason.user_error:
        raise Invalid(message, code=reason)
    if reason == Reason.timeout:
        raise Unavailable(
            f"{message}; look at /readyz whether a serving worker runs, or ask with `Prefer: respond-async`",
            code="drawing_timeout",
        )
    if reason in PASSING:
        raise Unavailable(f"{message}; try again", code=reason)
    raise AppError(message, code=reason)


async def drawn(parts: Platform, who: Caller, drawing_id: str, *, seconds: float) -> Drawing:
    """Wait until a drawing has ended.

    Raises:
        Unavailable: this process has to stop before that.
    """
    deadline, known = time.monotonic() + seconds, None
    while known is None or not known.ended:
        known = await parts.watch.news(drawing_id, known, seconds=deadline - time.monotonic())
        if known is None:
            break
    if known is None and parts.stopping.is_set():
        raise Unavailable(f"{drawing_id} is not drawn yet, and this server stops; try again")

    def read(session: Session) -> Drawing:
        if known is None:
            drawings.expire(session)
        return drawings.get_drawing(session, project_id=who.project_id, drawing_id=drawing_id)

    return await in_transaction(parts, read)


async def no_longer_wanted(parts: Platform, who: Caller, drawing_id: str) -> None:
    """Give the place of a drawing to others, unless it has ended."""

    def cancel(session: Session) -> None:
        drawings.cancel_drawing(session, project_id=who.project_id, drawing_id=drawing_id)

    await in_transaction(parts, cancel)


async def hung_up(request: Request) -> None:
    """Return when the client has gone away; its body must have been read."""
    while (await request.receive())["type"] != "http.disconnect":
        continue
