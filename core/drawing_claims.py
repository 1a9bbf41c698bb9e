"""Drawings in the hands of serving workers: claimed in batches that fit together, each with its own fence."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, and_, func, or_, select, update
from sqlalchemy.orm import Session, aliased

from core import drawings, outbox
from core.clock import database_now
from core.db import settings_of
from core.errors import StaleFence
from core.models import Drawing, DrawingState, Reason
from core.queue import DRAW
from core.runs.lifecycle import QUIETLY
from core.sources import Source, resolve

TRIES = 16
TRIED_AGAIN = frozenset({Reason.worker_lost, Reason.device_lost, Reason.disk_full})


@dataclass(frozen=True)
class DrawingClaim:
    """Proof that a worker holds a drawing, and what it has to draw with."""

    drawing_id: str
    project_id: str
    model_id: str
    fence: int
    worker: str
    lease_seconds: float
    prompt: str
    negative_prompt: str | None
    seeds: tuple[int, ...]
    width: int | None
    height: int | None
    steps: int
    guidance_scale: float
    base: Source
    weights: Source | None
    partial_images: int = 0
    origin: dict[str, str] | None = None

    @property
    def prefix(self) -> str:
        """Where this attempt's pictures go; no other attempt writes there."""
        return f"drawings/{self.drawing_id}/{self.fence}"


def anything_pending(session: Session, *, now: datetime | None = None) -> bool:
    """Tell whether a worker could claim a drawing now."""
    return session.scalar(select(Drawing.id).where(_claimable(Drawing, now)).limit(1)) is not None


def claim_drawings(
    session: Session, *, worker: str, lease_seconds: float, pictures: int = 1, now: datetime | None = None
) -> list[DrawingClaim]:
    """Take the first drawing that waits or whose worker was lost, and those after it that fit with it.

    First are those that somebody waits for, then by age; so nothing is passed over for ever, and what is
    taken beside the first is the oldest that can be drawn in the same go. One that an attempt failed at is
    taken alone: what has killed a process kills no others. Drawings that are overdue, and those that lost too
    many workers, are given up on the way.

    Args:
        session: an open transaction.
        worker: the claimer's name.
        lease_seconds: how long it may be silent.
        pictures: how many there may be in all; the first drawing is taken whatever it has.
        now: what the time is taken to be, in place of the database's clock.

    Returns:
        The claims, the first drawing's first; none when nothing waits.
    """
    _give_up(session, now)
    chosen = _batch(pictures, now)
    for _ in range(TRIES):
        ids = session.scalars(
            update(Drawing)
            .where(Drawing.id.in_(chosen), _claimable(Drawing, now))
            .values(
                state=DrawingState.running,
                fence=Drawing.fence + 1,
                attempt=Drawing.attempt + 1,
                worker=worker,
                partials=None,
                claimed_at=database_now(now=now),
                lease_expires_at=database_now(plus=lease_seconds, now=now),
            )
            .returning(Drawing.id)
            .execution_options(**QUIETLY)
        ).all()
        if ids:
            return _claims(session, ids, worker, lease_seconds)
        if not anything_pending(session, now=now):
            return []
    return []


def renew_drawings(
    session: Session, claims: Sequence[DrawingClaim], *, now: datetime | None = None
) -> set[str]:
    """Extend leases; return the drawings that are still the claims'."""
    if not claims:
        return set()
    fences = {claim.drawing_id: claim.fence for claim in claims}
    rows = session.execute(
        update(Drawing)
        .where(Drawing.id.in_(fences), Drawing.state == DrawingState.running)
        .where(Drawing.worker == claims[0].worker)
        .values(lease_expires_at=database_now(plus=claims[0].lease_seconds, now=now))
        .returning(Drawing.id, Drawing.fence)
        .execution_options(**QUIETLY)
    )
    return {drawing_id for drawing_id, fence in rows if fences[drawing_id] == fence}


def still_held(session: Session, claims: Sequence[DrawingClaim]) -> set[str]:
    """Return the drawings that are still the claims': not cancelled, overdue, or another's meanwhile."""
    fences = {claim.drawing_id: claim.fence for claim in claims}
    rows = session.execute(
        select(Drawing.id, Drawing.fence).where(Drawing.id.in_(fences), Drawing.state == DrawingState.running)
    )
    return {drawing_id for drawing_id, fence in rows if fences[drawing_id] == fence}


def show_partials(session: Session, claim: DrawingClaim, partials: list[dict[str, Any]]) -> None:
    """Write where pictures on their way lie: ``picture`` (its place among the seeds), ``index``, ``key``.

    Raises:
        StaleFence: the claim is lost; nothing was written.
    """
    assert len(partials) <= claim.partial_images * len(claim.seeds), "no more than were asked for"
    _write(session, claim, partials=partials)


def finish_drawing(
    session: Session, claim: DrawingClaim, *, files: list[dict[str, Any]], seconds: float, together: int = 1
) -> None:
    """Write where the pictures lie, one for each seed in order.

    Args:
        session: an open transaction.
        claim: of the drawing.
        files: entries of a manifest.
        seconds: from when its batch was begun.
        together: how many pictures were drawn in one go with it.

    Raises:
        StaleFence: the claim is lost; nothing was written.
    """
    assert len(files) == len(claim.seeds), "one picture for each seed"
    _write(
        session,
        claim,
        state=DrawingState.succeeded,
        result={"files": files, "seconds": seconds, "together": together},
        failure=None,
        lease_expires_at=None,
        finished_at=database_now(),
    )


def fail_drawing(session: Session, claim: DrawingClaim, *, reason: Reason | str, message: str) -> None:
    """End an attempt that failed: a lost worker or device is tried again, within ``max_attempts``.

    Raises:
        StaleFence: the claim is lost; nothing was written.
    """
    why = Reason(reason)
    attempt = session.scalar(select(Drawing.attempt).where(Drawing.id == claim.drawing_id)) or 0
    if why in TRIED_AGAIN and attempt < settings_of(session).max_attempts:
        _write(session, claim, state=DrawingState.pending, lease_expires_at=None, worker=None)
        outbox.enqueue(session, task=DRAW, payload=claim.drawing_id)
        return
    failure = {"reason": why.value, "message": message[:4000]}
    _write(
        session,
        claim,
        state=DrawingState.failed,
        failure=failure,
        lease_expires_at=None,
        finished_at=database_now(),
    )


def give_back(session: Session, *, worker: str) -> int:
    """Let others draw what a worker held that is known to be dead; return how many drawings that were."""
    held = session.scalars(
        update(Drawing)
        .where(Drawing.worker == worker, Drawing.state == DrawingState.running)
        .values(state=DrawingState.pending, worker=None, lease_expires_at=None)
        .returning(Drawing.id)
        .execution_options(**QUIETLY)
    ).all()
    for drawing_id in held:
        outbox.enqueue(session, task=DRAW, payload=drawing_id)
    return len(held)


@lru_cache(maxsize=64)  # making it takes as long as running it
def _batch(pictures: int, now: datetime | None) -> Any:
    """Return the ids of the first claimable drawing, and of those to be drawn with it, as a subquery."""
    first, beside = aliased(Drawing, name="first"), aliased(Drawing, name="beside")
    head = (
        select(first.id, first.batch_key, first.attempt)
        .where(_claimable(first, now))
        .order_by(first.background, first.created_at, first.id)
        .limit(1)
        .cte("head")
    )
    fresh = and_(head.c.attempt == 0, beside.attempt == 0, beside.batch_key == head.c.batch_key)
    order = (beside.background, beside.created_at, beside.id)
    fitting = (
        select(
            beside.id,
            (beside.id == head.c.id).label("is_first"),
            func.sum(beside.pictures).over(order_by=order).label("so_far"),
        )
        .select_from(beside)
        .join(head, or_(beside.id == head.c.id, fresh))
        .where(_claimable(beside, now))
        .subquery("fitting")
    )
    return select(fitting.c.id).where(or_(fitting.c.is_first, fitting.c.so_far <= pictures))


def _claims(session: Session, ids: Sequence[str], worker: str, lease_seconds: float) -> list[DrawingClaim]:
    rows = session.scalars(
        select(Drawing)
        .where(Drawing.id.in_(ids))
        .order_by(Drawing.background, Drawing.created_at, Drawing.id)
        .execution_options(populate_existing=True)
    ).all()
    # All of a batch draw with the same.
    base = resolve(session, rows[0].pipeline)
    weights = None if rows[0].weights is None else resolve(session, rows[0].weights)
    return [
        DrawingClaim(
            drawing_id=drawing.id,
            project_id=drawing.project_id,
            model_id=drawing.model_id,
            fence=drawing.fence,
            worker=worker,
            lease_seconds=lease_seconds,
            prompt=drawing.request["prompt"],
            negative_prompt=drawing.request["negative_prompt"],
            seeds=tuple(drawing.request["seeds"]),
            width=drawing.request["width"],
            height=drawing.request["height"],
            steps=drawing.request["steps"],
            guidance_scale=drawing.request["guidance_scale"],
            base=base,
            weights=weights,
            partial_images=drawing.request.get("partial_images", 0),
            origin=drawing.origin,
        )
        for drawing in rows
    ]


def _claimable(table: Any, now: datetime | None) -> ColumnElement[bool]:
    return or_(table.state == DrawingState.pending, _expired(table, now))


def _expired(table: Any, now: datetime | None) -> ColumnElement[bool]:
    return and_(table.state == DrawingState.running, table.lease_expires_at < database_now(now=now))


def _give_up(session: Session, now: datetime | None) -> None:
    """End the drawings that are overdue, and those whose last attempt was lost."""
    drawings.expire(session, now=now)
    failure = {"reason": Reason.worker_lost.value, "message": "the workers that drew it were lost"}
    session.execute(
        update(Drawing)
        .where(_claimable(Drawing, now), Drawing.attempt >= settings_of(session).max_attempts)
        .values(
            state=DrawingState.failed,
            failure=failure,
            lease_expires_at=None,
            finished_at=database_now(),
        )
        .execution_options(**QUIETLY)
    )


def _write(session: Session, claim: DrawingClaim, **values: Any) -> None:
    """Change a drawing that is still the claim's."""
    changed = session.scalar(
        update(Drawing)
        .where(
            Drawing.id == claim.drawing_id,
            Drawing.fence == claim.fence,
            Drawing.state == DrawingState.running,
        )
        .values(**values)
        .returning(Drawing.id)
        .execution_options(**QUIETLY)
    )
    if changed is None:
        raise StaleFence(f"{claim.drawing_id}: fence {claim.fence} of {claim.worker} is stale")
