"""Pictures that are asked for: rows that wait, are drawn (core.drawing_claims), and stay for a day."""

import hashlib
import math
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, func, or_, select, update
from sqlalchemy.orm import Session

from core import outbox, registry
from core.clock import database_now, utcnow
from core.db import Database, settings_of, transaction
from core.errors import NotFound, TooMany
from core.ids import new_id
from core.models import DRAWING_ENDED, Drawing, DrawingState, Reason
from core.paging import Page, page
from core.queue import DRAW
from core.registry import Resolved
from core.runs.lifecycle import QUIETLY
from core.storage.store import ObjectStore

KEEP_SECONDS = 24 * 3600.0
OPEN = (DrawingState.pending, DrawingState.running)
PACE_SECONDS = 60.0  # over which the pace of drawing is measured
LONGEST_RETRY_SECONDS = 120


def request_drawing(
    session: Session,
    *,
    project_id: str,
    model: str,
    prompt: str,
    negative_prompt: str | None,
    seeds: list[int],
    width: int | None,
    height: int | None,
    steps: int,
    guidance_scale: float,
    partial_images: int = 0,
    timeout_seconds: float | None = None,
    request_key: str | None = None,
    kept: bool = False,
    background: bool = False,
) -> Drawing:
    """Ask for one picture a seed with whatever a name stands for.

    Args:
        session: an open transaction.
        project_id: who asks.
        model: a base model, a result, a checkpoint, or a registered name.
        prompt: what to draw.
        negative_prompt: what not to draw.
        seeds: one a picture.
        width: in pixels; None: the model's own.
        height: likewise.
        steps: of the sampler.
        guidance_scale: 1: none.
        partial_images: how many pictures on their way are kept of each, to be looked at meanwhile.
        timeout_seconds: until it is given up; None: as the settings say.
        request_key: where an alias is split, the same key gets the same version.
        kept: it stays until ``let_go``.
        background: it is drawn when nobody waits for others, however long that takes.

    Raises:
        NotFound: there is no such model.
        TooMany: too many pictures wait already.
    """
    found = registry.resolve_for_use(session, project_id=project_id, name=model, request_key=request_key)
    told = {"prompt": prompt, "negative_prompt": negative_prompt, "seeds": seeds}
    sampler = {"width": width, "height": height, "steps": steps, "guidance_scale": guidance_scale}
    drawing = _drawing(found, told | sampler | {"partial_images": partial_images})
    drawing.project_id, drawing.kept, drawing.background = project_id, kept, background
    waiting = 0
    if not background:
        waiting = _check_queue(session, asked=len(seeds))
        longest = settings_of(session).drawing_timeout_seconds
        seconds = min(timeout_seconds or longest, longest)
        drawing.deadline_at = database_now(plus=seconds)
    session.add(drawing)
    session.flush()
    if not waiting:  # else a bell was rung for those, and whoever heard it looks until nothing waits
        outbox.enqueue(session, task=DRAW, payload=drawing.id)
    return drawing


def get_drawing(session: Session, *, project_id: str, drawing_id: str) -> Drawing:
    """Return a drawing as it stands; NotFound when it is not the project's."""
    drawing = session.get(Drawing, drawing_id, populate_existing=True)
    if drawing is None or drawing.project_id != project_id:
        raise NotFound(f"there is no drawing {drawing_id}", param="drawing_id")
    return drawing


@dataclass(frozen=True)
class Sight:
    """What of a drawing can be news: its state, and how many pictures on their way there are."""

    state: DrawingState
    partials: int

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.state in DRAWING_ENDED


def sights(session: Session, ids: Collection[str]) -> dict[str, Sight]:
    """Return what drawings look like now; one that is gone is not among them."""
    rows = session.execute(
        select(Drawing.id, Drawing.state, Drawing.partials).where(Drawing.id.in_(list(ids)))
    )
    return {drawing_id: Sight(state, len(partials or ())) for drawing_id, state, partials in rows}


def list_drawings(
    session: Session,
    *,
    project_id: str,
    after: str | None = None,
    limit: int = 20,
    background: bool | None = None,
) -> Page[Drawing]:
    """List the project's drawings of the last day, newest first; ``background``: only such, or none such."""
    statement = select(Drawing).where(Drawing.project_id == project_id)
    if background is not None:
        statement = statement.where(Drawing.background.is_(background))
    return page(session, statement, by=Drawing.id, after=after, limit=limit)


def queue_position(session: Session, drawing: Drawing) -> int | None:
    """Return how many requests are before one that waits, itself included; None when it does not wait."""
    if drawing.state is not DrawingState.pending:
        return None
    older = or_(
        Drawing.created_at < drawing.created_at,
        and_(Drawing.created_at == drawing.created_at, Drawing.id <= drawing.id),
    )
    before = and_(Drawing.background.is_(drawing.background), older)
    if drawing.background:
        before = or_(Drawing.background.is_(False), before)
    return session.scalar(select(func.count(Drawing.id)).where(Drawing.state == DrawingState.pending, before))


def cancel_drawing(session: Session, *, project_id: str, drawing_id: str) -> Drawing:
    """End a drawing that nobody wants any more; one that has ended stays as it is.

    Whoever draws it finds that its claim is no longer good, and leaves it out.
    """
    drawing = get_drawing(session, project_id=project_id, drawing_id=drawing_id)
    changed = session.scalar(
        update(Drawing)
        .where(Drawing.id == drawing.id, Drawing.state.in_(OPEN))
        .values(state=DrawingState.cancelled, lease_expires_at=None, finished_at=database_now())
        .returning(Drawing.id)
        .execution_options(**QUIETLY)
    )
    if changed is None:
        return drawing
    return get_drawing(session, project_id=project_id, drawing_id=drawing_id)


def expire(session: Session, *, now: datetime | None = None) -> int:
    """Give up what was not drawn by its deadline; return how many that were."""
    overdue = (
        update(Drawing)
        .where(Drawing.state.in_(OPEN), Drawing.deadline_at < database_now(now=now))
        .values(
            state=DrawingState.failed,
            failure={"reason": Reason.timeout.value, "message": "it was not drawn in time"},
            lease_expires_at=None,
            finished_at=database_now(),
        )
        .returning(Drawing.id)
        .execution_options(**QUIETLY)
    )
    return len(session.scalars(overdue).all())


def let_go(session: Session, ids: Collection[str]) -> None:
    """Keep drawings no longer than others; those that were not drawn yet are not needed any more."""
    chosen = Drawing.id.in_(list(ids))
    session.execute(update(Drawing).where(chosen).values(kept=False).execution_options(**QUIETLY))
    session.execute(
        update(Drawing)
        .where(chosen, Drawing.state.in_(OPEN))
        .values(state=DrawingState.cancelled, lease_expires_at=None, finished_at=database_now())
        .execution_options(**QUIETLY)
    )


def purge(database: Database, store: ObjectStore, *, limit: int = 100, now: datetime | None = None) -> int:
    """Delete drawings that ended a day ago or earlier, pictures and all; return how many.

    By then no link to them is good any more, and no repeated request is answered with them.
    """
    old = select(Drawing.id).where(
        Drawing.finished_at < database_now(plus=-KEEP_SECONDS, now=now), Drawing.kept.is_(False)
    )
    with transaction(database) as session:
        ids = list(session.scalars(old.order_by(Drawing.finished_at).limit(limit)))
    for drawing_id in ids:
        for key in store.list(f"drawings/{drawing_id}/"):
            store.delete(key)
    if ids:
        with transaction(database) as session:
            session.execute(delete(Drawing).where(Drawing.id.in_(ids)).execution_options(**QUIETLY))
    return len(ids)


def _drawing(found: Resolved, request: dict[str, Any]) -> Drawing:
    """Return a row that nobody owns yet; its key is what drawings share that can be drawn in one go."""
    size = f"{request['width']}x{request['height']}"
    drawn_by = f"{found.pipeline}\n{found.weights}"
    key = f"{drawn_by}\n{size}\n{request['steps']}\n{request['guidance_scale']:g}"
    return Drawing(
        id=new_id("img-"),
        model_id=found.model_id,
        alias=found.alias,
        pipeline=found.pipeline,
        weights=found.weights,
        request=request,
        batch_key=hashlib.sha256(key.encode()).hexdigest()[:32],
        pictures=len(request["seeds"]),
        state=DrawingState.pending,
        created_at=utcnow(),
    )


def _check_queue(session: Session, *, asked: int) -> int:
    """Return how many pictures wait; refuse what would make them too many, and say when there may be room."""
    most = settings_of(session).max_waiting_pictures
    waiting = _pictures(session, Drawing.state == DrawingState.pending, Drawing.background.is_(False))
    if waiting + asked <= most:
        return waiting
    recent = Drawing.finished_at > database_now(plus=-PACE_SECONDS)
    drawn = _pictures(session, Drawing.state == DrawingState.succeeded, recent)
    seconds = math.ceil((waiting + asked - most) * PACE_SECONDS / drawn) if drawn else PACE_SECONDS
    seconds = max(1, min(int(seconds), LONGEST_RETRY_SECONDS))
    raise TooMany(
        f"{waiting} pictures wait to be drawn, and {most} may (SPINDLE_MAX_WAITING_PICTURES); "
        f"at the pace of the last minute there will be room in {seconds} s",
        code="queue_full",
        retry_after=seconds,
    )


def _pictures(session: Session, *which: ColumnElement[bool]) -> int:
    return session.scalar(select(func.coalesce(func.sum(Drawing.pictures), 0)).where(*which)) or 0
