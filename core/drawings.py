"""Pictures that are asked for: a row that a serving worker claims like a unit, with a lease and a fence."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, or_, select, update
from sqlalchemy.orm import Session, aliased

from core import outbox, registry
from core.clock import database_now, utcnow
from core.db import Database, settings_of, transaction
from core.errors import NotFound, StaleFence
from core.ids import new_id
from core.models import Drawing, DrawingState, Reason
from core.queue import DRAW
from core.runs.lifecycle import QUIETLY
from core.sources import Source, resolve
from core.storage.store import ObjectStore

TRIES = 16
KEEP_SECONDS = 24 * 3600.0
TRIED_AGAIN = frozenset({Reason.worker_lost, Reason.device_lost})


@dataclass(frozen=True)
class DrawingClaim:
    """Proof that a worker holds a drawing, and what it has to draw with."""

    drawing_id: str
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

    @property
    def prefix(self) -> str:
        """Where this attempt's pictures go; no other attempt writes there."""
        return f"drawings/{self.drawing_id}/{self.fence}"


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
) -> Drawing:
    """Ask for one picture a seed with a base model, a result or a checkpoint.

    Raises:
        NotFound: there is no such model.
    """
    found = registry.resolve_for_use(session, project_id=project_id, name=model)
    drawing = Drawing(
        id=new_id("img-"),
        project_id=project_id,
        model_id=found.model_id,
        pipeline=found.pipeline,
        weights=found.weights,
        request={
            "prompt": prompt,
            "negative_prompt": negative_prompt,
            "seeds": seeds,
            "width": width,
            "height": height,
            "steps": steps,
            "guidance_scale": guidance_scale,
        },
        state=DrawingState.pending,
        created_at=utcnow(),
    )
    session.add(drawing)
    session.flush()
    outbox.enqueue(session, task=DRAW, payload=drawing.id)
    return drawing


def get_drawing(session: Session, *, project_id: str, drawing_id: str) -> Drawing:
    """Return a drawing as it stands; NotFound when it is not the project's."""
    drawing = session.get(Drawing, drawing_id)
    if drawing is None or drawing.project_id != project_id:
        raise NotFound(f"there is no drawing {drawing_id}", param="drawing_id")
    return drawing


def anything_pending(session: Session, *, now: datetime | None = None) -> bool:
    """Tell whether a worker could claim a drawing now."""
    return session.scalar(select(Drawing.id).where(_claimable(Drawing, now)).limit(1)) is not None


def claim_drawing(
    session: Session, *, worker: str, lease_seconds: float, now: datetime | None = None
) -> DrawingClaim | None:
    """Take the oldest drawing that waits or whose worker was lost; None when there is none.

    Drawings that nobody waits for any more, and those that lost too many workers, are given up on the way.

    Args:
        session: an open transaction.
        worker: the claimer's name.
        lease_seconds: how long it may be silent.
        now: what the time is taken to be, in place of the database's clock.
    """
    _give_up(session, now)
    oldest = aliased(Drawing)
    first = (
        select(oldest.id)
        .where(_claimable(oldest, now))
        .order_by(oldest.created_at, oldest.id)
        .limit(1)
        .scalar_subquery()
    )
    for _ in range(TRIES):
        drawing_id = session.scalar(
            update(Drawing)
            .where(Drawing.id == first, _claimable(Drawing, now))
            .values(
                state=DrawingState.running,
                fence=Drawing.fence + 1,
                attempt=Drawing.attempt + 1,
                worker=worker,
                lease_expires_at=database_now(plus=lease_seconds, now=now),
            )
            .returning(Drawing.id)
            .execution_options(**QUIETLY)
        )
        if drawing_id is not None:
            return _claim(session, drawing_id, worker, lease_seconds)
        if not anything_pending(session, now=now):
            return None
    return None


def renew_drawing(session: Session, claim: DrawingClaim, *, now: datetime | None = None) -> bool:
    """Extend the lease; False when the drawing is no longer the claim's."""
    return _change(session, claim, lease_expires_at=database_now(plus=claim.lease_seconds, now=now))


def finish_drawing(
    session: Session, claim: DrawingClaim, *, files: list[dict[str, Any]], seconds: float
) -> None:
    """Write where the pictures lie, one for each seed in order.

    Raises:
        StaleFence: the claim is lost; nothing was written.
    """
    assert len(files) == len(claim.seeds), "one picture for each seed"
    _write(
        session,
        claim,
        state=DrawingState.succeeded,
        result={"files": files, "seconds": seconds},
        failure=None,
        lease_expires_at=None,
        finished_at=utcnow(),
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
        finished_at=utcnow(),
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


def purge(database: Database, store: ObjectStore, *, limit: int = 100, now: datetime | None = None) -> int:
    """Delete drawings that ended a day ago or earlier, pictures and all; return how many.

    By then no link to them is good any more, and no repeated request is answered with them.
    """
    old = select(Drawing.id).where(Drawing.finished_at < database_now(plus=-KEEP_SECONDS, now=now))
    with transaction(database) as session:
        ids = list(session.scalars(old.order_by(Drawing.finished_at).limit(limit)))
    for drawing_id in ids:
        for key in store.list(f"drawings/{drawing_id}/"):
            store.delete(key)
    if ids:
        with transaction(database) as session:
            session.execute(delete(Drawing).where(Drawing.id.in_(ids)).execution_options(**QUIETLY))
    return len(ids)


def _claim(session: Session, drawing_id: str, worker: str, lease_seconds: float) -> DrawingClaim:
    drawing = session.get(Drawing, drawing_id, populate_existing=True)
    assert drawing is not None
    request = drawing.request
    return DrawingClaim(
        drawing_id=drawing.id,
        fence=drawing.fence,
        worker=worker,
        lease_seconds=lease_seconds,
        prompt=request["prompt"],
        negative_prompt=request["negative_prompt"],
        seeds=tuple(request["seeds"]),
        width=request["width"],
        height=request["height"],
        steps=request["steps"],
        guidance_scale=request["guidance_scale"],
        base=resolve(session, drawing.pipeline),
        weights=None if drawing.weights is None else resolve(session, drawing.weights),
    )


def _claimable(table: Any, now: datetime | None) -> ColumnElement[bool]:
    return or_(table.state == DrawingState.pending, _expired(table, now))


def _expired(table: Any, now: datetime | None) -> ColumnElement[bool]:
    return and_(table.state == DrawingState.running, table.lease_expires_at < database_now(now=now))


def _give_up(session: Session, now: datetime | None) -> None:
    """End the drawings whose requester has gone, and those whose last attempt was lost."""
    settings = settings_of(session)
    long_ago = database_now(plus=-2 * settings.drawing_timeout_seconds, now=now)
    hopeless = (
        (Reason.timeout, "nobody drew it in time", Drawing.created_at < long_ago),
        (Reason.worker_lost, "the workers that drew it were lost", Drawing.attempt >= settings.max_attempts),
    )
    for reason, message, condition in hopeless:
        session.execute(
            update(Drawing)
            .where(_claimable(Drawing, now), condition)
            .values(
                state=DrawingState.failed,
                failure={"reason": reason.value, "message": message},
                lease_expires_at=None,
                finished_at=utcnow(),
            )
            .execution_options(**QUIETLY)
        )


def _change(session: Session, claim: DrawingClaim, **values: Any) -> bool:
    """Change a drawing that is still the claim's; False when it is not."""
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
    return changed is not None


def _write(session: Session, claim: DrawingClaim, **values: Any) -> None:
    if not _change(session, claim, **values):
        raise StaleFence(f"{claim.drawing_id}: fence {claim.fence} of {claim.worker} is stale")
