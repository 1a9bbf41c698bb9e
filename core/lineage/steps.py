"""The steps that led to a model, one after the other."""

from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from core import registry
from core.models import Checkpoint, Comparison, ComparisonModel, Dataset, Job, Model, ModelKind


def lineage(session: Session, *, project_id: str, model_id: str) -> list[dict[str, Any]]:
    """Return the steps that led to a model, from itself back to its base model and data."""
    steps: list[dict[str, Any]] = []
    current: str | None = model_id
    while current is not None:
        step, current = _step(session, project_id, current, first=not steps)
        steps += step
    return steps


def _step(
    session: Session, project_id: str, model_id: str, *, first: bool
) -> tuple[list[dict[str, Any]], str | None]:
    """Return what one model adds to a lineage, and the model that its job started from."""
    if first or model_id.startswith(registry.CHECKPOINT):
        model = registry.get_model(session, project_id=project_id, model_id=model_id)
    else:
        found = session.get(Model, model_id)  # a deleted one is a step all the same
        if found is None:
            return [{"type": "model", "id": model_id}], None
        model = found
    step: list[dict[str, Any]] = [
        {"type": "model", "id": model.id, "kind": model.kind.value, "created": _seconds(model.created_at)}
    ]
    job = session.get(Job, model.job_id) if model.job_id is not None else None
    if job is None:
        return step, None
    checkpoint = _last_checkpoint(session, job, model)
    if checkpoint is not None:
        saved = {"type": "checkpoint", "id": checkpoint.id, "step": checkpoint.step}
        step += [saved, {"type": "iteration", "iteration": checkpoint.iteration}]
    dataset = session.get(Dataset, job.dataset_id)
    assert dataset is not None
    step += [
        {"type": "job", "id": job.id, "method": job.method["type"], "seed": job.seed, "model": job.model_id},
        {
            "type": "dataset",
            "id": dataset.id,
            "name": dataset.name,
            "version": dataset.version,
            "sha256": dataset.sha256,
        },
    ]
    if dataset.comparison_id is not None:
        step.append(_voted(session, dataset.comparison_id))
    return step, job.model_id


def _voted(session: Session, comparison_id: str) -> dict[str, Any]:
    """Return the comparison whose votes chose a dataset's pictures; a deleted one is a step all the same."""
    comparison = session.get_one(Comparison, comparison_id)
    models = select(ComparisonModel.model_id).where(ComparisonModel.comparison_id == comparison_id)
    compared = session.scalars(models.order_by(ComparisonModel.position)).all()
    return {"type": "comparison", "id": comparison_id, "name": comparison.name, "models": list(compared)}


def _last_checkpoint(session: Session, job: Job, model: Model) -> Checkpoint | None:
    """Return the checkpoint that a model is, or the last one before it."""
    if model.kind is ModelKind.checkpoint:
        return session.get(Checkpoint, model.id)
    return session.scalar(
        select(Checkpoint)
        .where(Checkpoint.job_id == job.id)
        .order_by(Checkpoint.iteration.desc(), Checkpoint.step.desc())
        .limit(1)
    )


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())
