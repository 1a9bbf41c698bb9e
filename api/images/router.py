"""Pictures: asked for here, drawn by a serving worker, awaited without a session or a thread."""

import asyncio
import base64
import json
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response, StreamingResponse
from sqlalchemy.orm import Session

from api.deps import ArtistDep, Once, OnceDep, Platform, PlatformDep, SessionDep, in_transaction
from api.images.events import TOLD, follow
from api.images.schemas import DrawingObject, ImageCreate, ImageObject, ImagesObject
from api.images.waiting import check, drawn, hung_up, no_longer_wanted
from api.schemas import Listed, ListQuery, page_of
from core import drawings
from core.errors import Invalid
from core.keys import Caller
from core.models import Drawing

router = APIRouter(prefix="/images", tags=["images"])

PATH = "/v1/images/generations"
LINK_SECONDS = 3600
CLIENT_CLOSED_REQUEST = 499
RESPOND_ASYNC = "respond-async"
TEXT = {"schema": {"type": "string"}}
ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {"schema": TOLD}}},
    202: {
        "model": DrawingObject,
        "description": "It was asked for with `Prefer: respond-async`, and waits to be drawn.",
        "headers": {
            "Location": {"description": "Where to look for it.", **TEXT},
            "Preference-Applied": {"description": f"`{RESPOND_ASYNC}`.", **TEXT},
        },
    },
}


def _shown(parts: Platform, drawing: Drawing, *, queue_position: int | None = None) -> DrawingObject:
    return DrawingObject.of(
        drawing, link=lambda key: parts.store.signed_url(key, LINK_SECONDS), queue_position=queue_position
    )


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


def _ask(session: Session, who: Caller, body: ImageCreate) -> Drawing:
    width, height = body.sides or (None, None)
    return drawings.request_drawing(
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
        partial_images=body.partial_images,
        timeout_seconds=body.timeout_seconds,
        request_key=body.request_key,
    )


def _prefers_async(prefer: str | None) -> bool:
    """Tell whether a Prefer header (RFC 7240) asks not to wait."""
    told = (prefer or "").replace(";", ",").split(",")
    return RESPOND_ASYNC in {each.strip().lower() for each in told}


@router.post("/generations", response_model=ImagesObject, responses=ANSWERS)
async def generate(
    body: ImageCreate,
    request: Request,
    parts: PlatformDep,
    who: ArtistDep,
    once: OnceDep,
    prefer: Annotated[
        str | None, Header(max_length=200, description=f"`{RESPOND_ASYNC}`: do not wait for the pictures.")
    ] = None,
) -> Response:
    """Draw pictures with a model and wait for them; or look at them as they come about; or do not wait.

    Who goes away gives the place to others, unless it was asked for with `Prefer: respond-async`.
    """
    most = parts.settings.drawing_timeout_seconds
    seconds = min(body.timeout_seconds or most, most)
    if body.stream:
        drawing_id = await _begun_stream(body, parts, who, once)
        return StreamingResponse(
            follow(parts, who, drawing_id, seconds=seconds),
            media_type="text/event-stream",
            headers={
                "Cache-Control": "no-store",
                "X-Accel-Buffering": "no",
                "Location": f"{PATH}/{drawing_id}",
            },
        )
    if _prefers_async(prefer):
        return await _accepted(body, parts, who, once)
    asked = await in_transaction(parts, lambda session: once.begin(session) or _ask(session, who, body).id)
    if isinstance(asked, JSONResponse):
        return asked
    try:
        answer = await _waited_for(request, parts, who, asked, body, seconds)
    except Exception:
        await in_transaction(parts, once.abandon)
        raise
    if answer is None:
        await in_transaction(parts, once.abandon)
        return Response(status_code=CLIENT_CLOSED_REQUEST)
    return await in_transaction(parts, lambda session: once.finish(session, answer))


async def _begun_stream(body: ImageCreate, parts: Platform, who: Caller, once: Once) -> str:
    if once.key is not None:
        raise Invalid(
            "a stream cannot be told again: leave out Idempotency-Key, or ask with "
            f"`Prefer: {RESPOND_ASYNC}`",
            param="Idempotency-Key",
            code="stream_not_repeatable",
        )

    def ask(session: Session) -> str:
        drawing = _ask(session, who, body)
        once.finish(session, _shown(parts, drawing))
        return drawing.id

    return await in_transaction(parts, ask)


async def _accepted(body: ImageCreate, parts: Platform, who: Caller, once: Once) -> Response:
    def ask(session: Session) -> JSONResponse:
        return once.begin(session) or once.finish(
            session, _shown(parts, _ask(session, who, body)), status=202
        )

    answer = await in_transaction(parts, ask)
    if answer.status_code == 202:
        answer.headers["Location"] = f"{PATH}/{json.loads(bytes(answer.body))['id']}"
        answer.headers["Preference-Applied"] = RESPOND_ASYNC
    return answer


async def _waited_for(
    request: Request, parts: Platform, who: Caller, drawing_id: str, body: ImageCreate, seconds: float
) -> ImagesObject | None:
    """Return the pictures; None when the client has gone before they were drawn."""
    waiting = asyncio.ensure_future(drawn(parts, who, drawing_id, seconds=seconds))
    gone = asyncio.ensure_future(hung_up(request))
    try:
        await asyncio.wait({waiting, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            return None
        drawing = waiting.result()
    finally:
        gone.cancel()
        if not waiting.done() or waiting.cancelled() or waiting.exception() is not None:
            waiting.cancel()
            await no_longer_wanted(parts, who, drawing_id)
    check(drawing)
    return await run_in_threadpool(_render, parts, drawing, body)


@router.get("/generations", response_model=Listed[DrawingObject])
def list_generations(session: SessionDep, parts: PlatformDep, who: ArtistDep, query: ListQuery) -> object:
    """List the requests for pictures of the last day, newest first."""
    page = drawings.list_drawings(session, project_id=who.project_id, after=query.after, limit=query.limit)
    return page_of([_shown(parts, drawing) for drawing in page.items], has_more=page.has_more)


@router.get("/generations/{drawing_id}", response_model=DrawingObject)
def retrieve_generation(
    drawing_id: str, session: SessionDep, parts: PlatformDep, who: ArtistDep
) -> DrawingObject:
    """Tell how a request for pictures stands, and where its pictures are."""
    drawing = drawings.get_drawing(session, project_id=who.project_id, drawing_id=drawing_id)
    return _shown(parts, drawing, queue_position=drawings.queue_position(session, drawing))


@router.post("/generations/{drawing_id}/cancel", response_model=DrawingObject)
async def cancel_generation(
    drawing_id: str, parts: PlatformDep, who: ArtistDep, once: OnceDep
) -> JSONResponse:
    """End a request for pictures that nobody wants any more; one that has ended stays as it is."""

    def cancel(session: Session) -> JSONResponse:
        def work() -> DrawingObject:
            found = drawings.cancel_drawing(session, project_id=who.project_id, drawing_id=drawing_id)
            return _shown(parts, found)

        return once(session, work)

    return await in_transaction(parts, cancel)
