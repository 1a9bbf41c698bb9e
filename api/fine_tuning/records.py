"""What a job leaves behind: events, numbers, previews, checkpoints."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Header, Query
from fastapi.responses import StreamingResponse
from sqlalchemy.orm import Session

from api.deps import CallerDep, Platform, PlatformDep, SessionDep, in_transaction
from api.fine_tuning.schemas import (
    CheckpointObject,
    EventListing,
    EventObject,
    MetricListing,
    MetricObject,
    SampleListing,
    SampleObject,
)
from api.schemas import Listed, ListQuery, page_at, page_of
from core.runs import jobs, views

router = APIRouter(prefix="/fine_tuning/jobs/{job_id}", tags=["fine-tuning"])

BATCH = 200
POLL_SECONDS = 0.5
KEEPALIVE_SECONDS = 15.0
LINK_SECONDS = 3600
TOLD = {
    "type": "object",
    "description": "`data` is an event as JSON, `id` its id; `[DONE]` is the last one's.",
    "properties": {name: {"type": "string"} for name in ("event", "id", "data")}
    | {"retry": {"type": "integer"}},
    "required": ["data"],
}
"""What one server-sent event is made of."""


async def follow(parts: Platform, job_id: str, seq: int) -> AsyncIterator[bytes]:
    """Yield a job's events after ``seq`` as they happen, until the job has ended and all is told.

    Holds no session between two looks.
    """

    def look(session: Session) -> tuple[list[EventObject], bool]:
        # The state first: a job seen ended has written all its events.
        ended = views.has_ended(session, job_id=job_id)
        found = views.events_after(session, job_id=job_id, seq=seq, limit=BATCH)
        return [EventObject.of(event) for event in found], ended

    quiet_since = time.monotonic()
    while not parts.stopping.is_set():
        events, ended = await in_transaction(parts, look)
        for event in events:
            seq = event.seq
            yield f"id: {event.id}\nretry: 1000\ndata: {event.model_dump_json()}\n\n".encode()
        if events:
            quiet_since = time.monotonic()
        elif ended:
            yield b"data: [DONE]\n\n"
            return
        elif time.monotonic() - quiet_since > KEEPALIVE_SECONDS:
            quiet_since = time.monotonic()
            # Without an empty line: after one, OpenAI's client takes even a comment for an event.
            yield b": still here\n"
        if len(events) < BATCH and not ended:
            await asyncio.sleep(POLL_SECONDS)


async def listened(parts: Platform, stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Count a stream while somebody listens to it."""
    with parts.listeners.track_inprogress():
        async for piece in stream:
            yield piece


@router.get(
    "/events",
    response_model=Listed[EventObject],
    responses={200: {"content": {"text/event-stream": {"schema": TOLD}}}},
)
def list_events(
    job_id: str,
    session: SessionDep,
    parts: PlatformDep,
    who: CallerDep,
    query: Annotated[EventListing, Query()],
    last_event_id: Annotated[str | None, Header(max_length=200)] = None,
) -> object:
    """List a job's events, newest first; or with ``stream=true`` tell them as they happen, oldest first."""
    if not query.stream:
        page = views.list_events(
            session, project_id=who.project_id, job_id=job_id, after=query.after, limit=query.limit
        )
        return page_of([EventObject.of(event) for event in page.items], has_more=page.has_more)
    jobs.get_job(session, project_id=who.project_id, job_id=job_id)
    known = last_event_id or query.after
    seq = views.event_seq(session, job_id=job_id, event_id=known) if known else 0
    return StreamingResponse(
        listened(parts, follow(parts, job_id, seq)),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


@router.get("/metrics", response_model=Listed[MetricObject])
def list_metrics(
    job_id: str, session: SessionDep, who: CallerDep, query: Annotated[MetricListing, Query()]
) -> object:
    """List a job's numbers in the order in which they were measured: losses, margins, evaluations."""
    page = views.list_metrics(
        session,
        project_id=who.project_id,
        job_id=job_id,
        names=query.names.split(",") if query.names else None,
        after=query.after,
        limit=query.limit,
    )
    data = [MetricObject.of(metric) for metric in page.items]
    return page_at(data, [str(metric.seq) for metric in data], has_more=page.has_more)


@router.get("/samples", response_model=Listed[SampleObject])
def list_samples(
    job_id: str,
    session: SessionDep,
    parts: PlatformDep,
    who: CallerDep,
    query: Annotated[SampleListing, Query()],
) -> object:
    """List the preview pictures: the same prompts and seeds from the base model on."""
    found = views.list_samples(session, project_id=who.project_id, job_id=job_id, iteration=query.iteration)
    data = [
        SampleObject(
            iteration=sample.iteration,
            index=sample.index,
            prompt=sample.prompt,
            seed=sample.seed,
            url=parts.store.signed_url(sample.key, LINK_SECONDS),
        )
        for sample in found
    ]
    return page_at(data, [f"{each.iteration}/{each.index}" for each in data], has_more=False)


@router.get("/checkpoints", response_model=Listed[CheckpointObject])
def list_checkpoints(job_id: str, session: SessionDep, who: CallerDep, query: ListQuery) -> object:
    """List a job's checkpoints, newest first. Each id is a model name, usable at once."""
    page = views.list_checkpoints(
        session, project_id=who.project_id, job_id=job_id, after=query.after, limit=query.limit
    )
    return page_of([CheckpointObject.of(checkpoint) for checkpoint in page.items], has_more=page.has_more)
