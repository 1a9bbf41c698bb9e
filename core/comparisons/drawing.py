"""The pictures of comparisons: asked for a few at a time, and taken in when they are drawn.

They are drawings that are kept, drawn when nobody waits for others, and tried again as all drawings are. A
few at a time, because two hundred prompts for six models must not become one transaction, or a queue that
others have to be counted behind.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from core import drawings
from core.clock import utcnow
from core.comparisons.pixels import digest
from core.db import Database, look, transaction
from core.errors import NotFound, StoreUnavailable
from core.models import (
    Comparison,
    ComparisonModel,
    ComparisonPicture,
    ComparisonState,
    Drawing,
    DrawingState,
    PictureState,
)
from core.runs.lifecycle import QUIETLY
from core.storage.store import ObjectStore
from core.webhooks.events import EventType, emit

log = structlog.get_logger(__name__)

AT_ONCE = 32
"""Drawings of one comparison that wait or are drawn at a time."""
COMPARISONS_AT_ONCE = 20
BLOCK = 8
"""Prompts that one model draws before the next one does: soon there are pairs to vote on, and workers seldom
change weights."""
OPEN = (DrawingState.pending, DrawingState.running)
EVENTS = {
    ComparisonState.ready: EventType.comparison_ready,
    ComparisonState.failed: EventType.comparison_failed,
}


@dataclass(frozen=True)
class Ended:
    """A drawing that has ended: its pictures and what each shows, or why there are none."""

    model: int
    prompt: int
    files: list[dict[str, Any]] | None = None
    pixels: list[str] | None = None
    failure: dict[str, Any] | None = None


def keep_up(database: Database, store: ObjectStore) -> int:
    """Take in what was drawn of every comparison, and ask for more; return how many drawings had ended."""
    with look(database) as session:
        drawing = select(Comparison.id).where(
            Comparison.state == ComparisonState.drawing, Comparison.deleted_at.is_(None)
        )
        ids = session.scalars(drawing.order_by(Comparison.id).limit(COMPARISONS_AT_ONCE)).all()
    return sum(advance(database, store, comparison_id=each) for each in ids)


def advance(database: Database, store: ObjectStore, *, comparison_id: str) -> int:
    """Take in what was drawn of one comparison, and ask for more; return how many drawings had ended.

    Pictures are looked at between two transactions. Whoever else does the same meanwhile changes nothing
    twice.
    """
    with look(database) as session:
        rows = _ended(session, comparison_id)
        if not rows and _is_waiting(session, comparison_id):
            return 0
    try:
        found = [_look(store, picture, drawing) for picture, drawing in rows]
    except StoreUnavailable:
        log.warning("comparison_waits_for_the_store", comparison=comparison_id)
        return 0
    with transaction(database) as session:
        comparison = _lock(session, comparison_id)
        if comparison is None:
            return 0
        for each in found:
            _take_in(session, comparison, each)
        ask_more(session, comparison)
        _settle(session, comparison)
    return len(found)


def _ended(session: Session, comparison_id: str) -> Sequence[Any]:
    ended = (
        select(ComparisonPicture, Drawing)
        .outerjoin(Drawing, Drawing.id == ComparisonPicture.drawing_id)
        .where(
            ComparisonPicture.comparison_id == comparison_id,
            ComparisonPicture.state == PictureState.asked,
            Drawing.state.is_(None) | Drawing.state.not_in(OPEN),
        )
        .order_by(ComparisonPicture.drawing_id)  # the failure that is told of is the first one
    )
    return session.execute(ended).all()


def _is_waiting(session: Session, comparison_id: str) -> bool:
    """Tell whether drawings of a comparison are open."""
    asked = select(ComparisonPicture.prompt).where(
        ComparisonPicture.comparison_id == comparison_id, ComparisonPicture.state == PictureState.asked
    )
    return session.scalar(asked.limit(1)) is not None


def _look(store: ObjectStore, picture: ComparisonPicture, drawing: Drawing | None) -> Ended:
    """Read what was drawn, and tell what it shows."""
    place = (picture.model, picture.prompt)
    if drawing is None or drawing.state is not DrawingState.succeeded or drawing.result is None:
        told = None if drawing is None else drawing.failure
        how = "gone" if drawing is None else drawing.state.value
        return Ended(*place, failure=told or {"reason": "internal", "message": f"its drawing is {how}"})
    files = drawing.result["files"]
    try:
        pixels = [digest(_read(store, file["key"])) for file in files]
    except (ValueError, FileNotFoundError, NotFound) as error:
        return Ended(*place, failure={"reason": "internal", "message": str(error)})
    return Ended(*place, files=files, pixels=pixels)


def _read(store: ObjectStore, key: str) -> bytes:
    with store.open(key) as stream:
        return stream.read()


def _lock(session: Session, comparison_id: str) -> Comparison | None:
    """Return a comparison that is still being drawn, and that nobody else takes pictures in for now."""
    locked = session.scalar(
        update(Comparison)
        .where(
            Comparison.id == comparison_id,
            Comparison.state == ComparisonState.drawing,
            Comparison.deleted_at.is_(None),
        )
        .values(drawn=Comparison.drawn)
        .returning(Comparison.id)
        .execution_options(**QUIETLY)
    )
    return None if locked is None else session.get_one(Comparison, locked, populate_existing=True)


def _take_in(session: Session, comparison: Comparison, ended: Ended) -> None:
    state = PictureState.drawn if ended.failure is None else PictureState.failed
    told = session.scalar(
        update(ComparisonPicture)
        .where(
            ComparisonPicture.comparison_id == comparison.id,
            ComparisonPicture.model == ended.model,
            ComparisonPicture.prompt == ended.prompt,
            ComparisonPicture.state == PictureState.asked,
        )
        .values(state=state, files=ended.files, pixels=ended.pixels, failure=ended.failure)
        .returning(ComparisonPicture.prompt)
        .execution_options(**QUIETLY)
    )
    if told is None:
        return
    pictures = len(comparison.prompts[ended.prompt]["seeds"])
    if ended.failure is None:
        comparison.drawn += pictures
    else:
        comparison.failed += pictures
        comparison.failure = comparison.failure or ended.failure


def ask_more(session: Session, comparison: Comparison) -> None:
    """Ask for pictures until ``AT_ONCE`` drawings are open; of a locked or new comparison."""
    states = dict[tuple[int, int], PictureState]()
    mine = ComparisonPicture.comparison_id == comparison.id
    rows = select(ComparisonPicture.model, ComparisonPicture.prompt, ComparisonPicture.state).where(mine)
    for model, prompt, state in session.execute(rows):
        states[model, prompt] = state
    room = AT_ONCE - sum(state is PictureState.asked for state in states.values())
    waiting = (place for place in _order(comparison, states) if states[place] is PictureState.waiting)
    models = list(
        session.scalars(
            select(ComparisonModel.model_id)
            .where(ComparisonModel.comparison_id == comparison.id)
            .order_by(ComparisonModel.position)
        )
    )
    for model, prompt in itertools.islice(waiting, max(0, room)):
        values = _asked(session, comparison, models[model], prompt)
        session.execute(
            update(ComparisonPicture)
            .where(mine, ComparisonPicture.model == model, ComparisonPicture.prompt == prompt)
            .values(**values)
            .execution_options(**QUIETLY)
        )
        if values["state"] is PictureState.failed:
            comparison.failed += len(comparison.prompts[prompt]["seeds"])
            comparison.failure = comparison.failure or values["failure"]
    session.flush()


def _order(comparison: Comparison, states: dict[tuple[int, int], PictureState]) -> Iterator[tuple[int, int]]:
    models = 1 + max(model for model, _ in states)
    for start in range(0, len(comparison.prompts), BLOCK):
        block = range(start, min(start + BLOCK, len(comparison.prompts)))
        yield from itertools.product(range(models), block)


def _asked(session: Session, comparison: Comparison, model_id: str, prompt: int) -> dict[str, Any]:
    """Ask for the pictures of one model and prompt; return how that row changes."""
    question = comparison.prompts[prompt]
    try:
        drawing = drawings.request_drawing(
            session,
            project_id=comparison.project_id,
            model=model_id,
            prompt=question["prompt"],
            seeds=question["seeds"],
            kept=True,
            background=True,
            **comparison.settings,
        )
    except NotFound as error:
        failure = {"reason": "user_error", "message": error.message}
        return {"state": PictureState.failed, "failure": failure}
    return {"state": PictureState.asked, "drawing_id": drawing.id}


def _settle(session: Session, comparison: Comparison) -> None:
    """End the drawing of a locked comparison when nothing of it is open; with no pair it has failed."""
    if comparison.drawn + comparison.failed < comparison.total:
        return
    drawn = session.execute(
        select(ComparisonPicture.prompt).where(
            ComparisonPicture.comparison_id == comparison.id, ComparisonPicture.state == PictureState.drawn
        )
    )
    prompts = [prompt for (prompt,) in drawn]
    pairs = len(prompts) > len(set(prompts))
    comparison.state = ComparisonState.ready if pairs else ComparisonState.failed
    comparison.ready_at = utcnow() if pairs else None
    session.flush()
    emit(
        session,
        project_id=comparison.project_id,
        event=EVENTS[comparison.state],
        data={"id": comparison.id, "status": comparison.state.value},
    )
