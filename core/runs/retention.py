"""Which checkpoints of a job stay: the newest, the best, and those that something else still needs.

A checkpoint goes by the deletion of its row, in the transaction that made it expendable. Its objects are
then told of by no row: the worker deletes them after the commit, and what a crash leaves is cleared with
the leftovers of its unit (core.runs.leftovers). Never the other way round: no row tells of an object that
is gone.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from core.comparisons.use import models_in_use
from core.db import settings_of
from core.models import (
    UNIT_ENDED,
    Checkpoint,
    Drawing,
    DrawingState,
    Job,
    Metric,
    ModelExport,
    TransferState,
    Unit,
    UnitKind,
)
from core.registered.lookup import registered_checkpoints
from core.runs.lifecycle import QUIETLY
from spin_engine.hyperparameters import Config

OF_ITERATIONS = "eval/"
OPEN = (DrawingState.pending, DrawingState.running)


class Retention(Config):
    """What a job keeps of its checkpoints; what is registered, started from or drawn with stays anyway."""

    keep_last: int | None = Field(
        None, ge=1, le=1_000_000, description="So many of the newest checkpoints; null: all."
    )
    best_by: str = Field(
        "loss",
        max_length=100,
        description="The best checkpoint by this number stays as well: a training metric, or `eval/NAME`, "
        "which is of the last checkpoint of each iteration.",
    )
    best: Literal["lowest", "highest"] = Field("lowest", description="Which value of it is the best.")


@dataclass(frozen=True)
class Candidate:
    """A checkpoint as retention sees it; ``value`` is what it is compared by, None while there is none."""

    id: str
    unit: str
    iteration: int
    step: int
    value: float | None
    awaited: bool = False
    """Its value is still to come."""
    resumes: bool = False
    """Its unit has not ended, and may have to go on from it."""


def expendable(candidates: Sequence[Candidate], policy: Retention, *, needed: Collection[str]) -> list[str]:
    """Return the checkpoints that need not stay, oldest first."""
    if policy.keep_last is None:
        return []
    ordered = sorted(candidates, key=lambda one: (one.iteration, one.step))
    stays = {one.id for one in ordered[-policy.keep_last :]} | set(needed)
    stays |= {one.id for one in ordered if one.awaited or one.resumes}
    sign = 1.0 if policy.best == "lowest" else -1.0
    measured = [
        (sign * one.value, -index, one.id) for index, one in enumerate(ordered) if one.value is not None
    ]
    if measured:
        stays.add(min(measured)[2])  # of equals the newest
    return [one.id for one in ordered if one.id not in stays]


def policy_of(session: Session, job: Job) -> Retention:
    """Return what a job keeps: its own choice, or the platform's."""
    if job.retention is not None:
        return Retention.model_validate(job.retention)
    return Retention(keep_last=settings_of(session).keep_checkpoints or None)


def thin(session: Session, job: Job) -> list[str]:
    """Delete the rows of a locked job's expendable checkpoints; return the keys that no row tells of now.

    Whoever starts to use a checkpoint holds its row meanwhile (``take_hold``): either that is seen here, or
    the checkpoint is gone for him.
    """
    policy = policy_of(session, job)
    if policy.keep_last is None:
        return []
    rows = session.scalars(select(Checkpoint).where(Checkpoint.job_id == job.id)).all()
    if len(rows) <= policy.keep_last:
        return []
    candidates = _candidates(session, job, rows, policy)
    chosen = expendable(candidates, policy, needed=())
    held = session.scalars(
        update(Checkpoint)
        .where(Checkpoint.id.in_(chosen))
        .values(step=Checkpoint.step)
        .returning(Checkpoint.id)
        .execution_options(**QUIETLY)
    ).all()
    gone = expendable(candidates, policy, needed=_needed(session, held))
    session.execute(delete(Checkpoint).where(Checkpoint.id.in_(gone)).execution_options(**QUIETLY))
    session.execute(
        update(Unit)
        .where(Unit.id.in_({one.unit_id for one in rows if one.id in gone}))
        .values(cleared_at=None)
        .execution_options(**QUIETLY)
    )
    return [file["key"] for one in rows if one.id in gone for file in one.files]


def take_hold(session: Session, checkpoint_id: str) -> bool:
    """Keep a checkpoint from being thinned out until this transaction ends; False when it is gone."""
    held = session.scalar(
        update(Checkpoint)
        .where(Checkpoint.id == checkpoint_id)
        .values(step=Checkpoint.step)
        .returning(Checkpoint.id)
        .execution_options(**QUIETLY)
    )
    return held is not None


def _needed(session: Session, ids: Collection[str]) -> set[str]:
    """Return those that a version names, a job started from, or somebody draws with, compares or exports."""
    sources = select(Job.weights).where(Job.weights.startswith("checkpoint:"))
    drawn = select(Drawing.weights).where(Drawing.state.in_(OPEN), Drawing.weights.is_not(None))
    written = select(ModelExport.weights).where(
        ModelExport.state == TransferState.pending, ModelExport.weights.is_not(None)
    )
    used = {source for query in (sources, drawn, written) for source in session.scalars(query)}
    held = {one for one in ids if any(source.startswith(f"checkpoint:{one}/") for source in used if source)}
    compared = models_in_use(session).intersection(ids)
    return held | compared | registered_checkpoints(session, ids)


def _candidates(session: Session, job: Job, rows: Sequence[Checkpoint], policy: Retention) -> list[Candidate]:
    units = {
        unit.id: unit
        for unit in session.scalars(
            select(Unit).where(Unit.job_id == job.id).execution_options(populate_existing=True)
        )
    }
    measuring = {
        unit.iteration
        for unit in units.values()
        if unit.kind is UnitKind.evaluate and unit.state not in UNIT_ENDED
    }
    by_iteration = policy.best_by.startswith(OF_ITERATIONS)
    evaluated = _evaluated(session, job, policy.best_by) if by_iteration else {}
    last = {one.unit_id: max(o.step for o in rows if o.unit_id == one.unit_id) for one in rows}

    def seen(row: Checkpoint) -> Candidate:
        newest = row.step == last[row.unit_id]
        trained = (row.metrics or {}).get(policy.best_by)
        return Candidate(
            id=row.id,
            unit=row.unit_id,
            iteration=row.iteration,
            step=row.step,
            value=(evaluated.get(row.iteration) if newest else None) if by_iteration else trained,
            awaited=by_iteration and newest and row.iteration in measuring,
            resumes=newest and units[row.unit_id].state not in UNIT_ENDED,
        )

    return [seen(row) for row in rows]


def _evaluated(session: Session, job: Job, name: str) -> dict[int, float]:
    found: Any = select(Metric.iteration, Metric.value).where(Metric.job_id == job.id, Metric.name == name)
    return {row.iteration: row.value for row in session.execute(found)}
