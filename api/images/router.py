"""Pictures: asked for here, drawn by a serving worker, awaited without a session or a thread."""

import asyncio
import base64
import time

from fastapi import APIRouter
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from sqlalchemy.orm import Session

from api.deps import CallerDep, OnceDep, Platform, PlatformDep, in_transaction
from api.images.schemas import ImageCreate, ImageObject, ImagesObject
from core import drawings
from core.errors import AppError, Invalid, Unavailable
from core.keys import Caller
from core.models import Drawing, DrawingState, Reason

router = APIRouter(prefix="/images", tags=["images"])

LINK_SECONDS = 3600
FIRST_LOOK_SECONDS = 0.05
LONGEST_LOOK_SECONDS = 0.5


def _render(parts: Platform, drawing: Drawing, body: ImageCreate) -> ImagesObject:
    """Read the pictures from the store; blocking."""
    assert drawing.result is not None, "a drawing that succeeded has its pictures"
    data = []
    for file, seed in zip(drawing.result["files"], drawing.request["seeds"], strict=True):
        if body.response_format == "url":
            data.append(ImageObject(url=parts.store.signed_url(file["key"], LINK_SECONDS), seed=seed))
            continue
        with parts.store.open(file["key"]) as stream:
            data.append(ImageObject(b64_json=base64.b64encode(stream.read()).decode(), seed=seed))
    return ImagesObject(
        id=drawing.id,
        created=int(drawing.created_at.timestamp()),
        model=body.model,
        size=body.size,
        data=data,
    )


def _check(drawing: Drawing) -> None:
    """Raise what a failed drawing has to tell."""
    if drawing.state is not DrawingState.failed:
        return
    failure = drawing.failure or {}
    reason, message = failure.get("reason"), f"{drawing.id}: {failure.get('message', 'the drawing failed')}"
    if reason == Reason.user_error:
        raise Invalid(message, code=reason)
    if reason in (Reason.worker_lost, Reason.device_lost, Reason.timeout):
        raise Unavailable(f"{message}; try again", code=reason)
    raise AppError(message, code=reason)


async def _drawn(parts: Platform, who: Caller, drawing_id: str) -> Drawing:
    """Wait until the drawing has ended, looking less often as time passes."""

    def look(session: Session) -> Drawing:
        return drawings.get_drawing(session, project_id=who.project_id, drawing_id=drawing_id)

    pause = FIRST_LOOK_SECONDS
    deadline = time.monotonic() + parts.settings.drawing_timeout_seconds
    while not parts.stopping.is_set():
        drawing = await in_transaction(parts, look)
        if drawing.state in (DrawingState.succeeded, DrawingState.failed):
            return drawing
        if time.monotonic() > deadline:
            break
        await asyncio.sleep(pause)
        pause = min(pause * 1.3, LONGEST_LOOK_SECONDS)
    raise Unavailable(
        f"{drawing_id} is still waiting to be drawn after {parts.settings.drawing_timeout_seconds} s; "
        "look at /readyz whether a serving worker runs, and try again",
        code="drawing_timeout",
    )


@router.post("/generations", response_model=ImagesObject)
async def generate(body: ImageCreate, parts: PlatformDep, who: CallerDep, once: OnceDep) -> JSONResponse:
    """Draw pictures with a model and wait for them."""
    width, height = body.sides or (None, None)

    def ask(session: Session) -> JSONResponse | str:
        return (
            once.begin(session)
            or drawings.request_drawing(
                session,
                project_id=who.project_id,
                model=body.model,
                prompt=body.prompt,
                negative_prompt=body.negative_prompt,
                seeds=body.seeds_of_pictures(),
                width=width,
                height=height,
                steps=body.steps,
                guidance_scale=body.guidance_scale,
            ).id
        )

    asked = await in_transaction(parts, ask)
    if isinstance(asked, JSONResponse):
        return asked
    try:
        drawing = await _drawn(parts, who, asked)
        _check(drawing)
        answer = await run_in_threadpool(_render, parts, drawing, body)
    except Exception:
        await in_transaction(parts, once.abandon)
        raise
    return await in_transaction(parts, lambda session: once.finish(session, answer))
