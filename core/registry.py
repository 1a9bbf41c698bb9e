"""Models by name: the base models of a folder, the results of jobs, and each checkpoint under its id."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import and_, or_, select, update
from sqlalchemy.orm import Session

from core import digests
from core.clock import utcnow
from core.errors import Conflict, Invalid, NotFound
from core.models import Checkpoint, Dataset, Job, Model, ModelKind
from core.paging import Page
from core.runs.retention import take_hold
from core.settings import Settings
from core.sources import MODEL, WEIGHTS, Source, resolve
from spin_engine.sizes import PipelineSize, of_pipeline

CHECKPOINT = "ftckpt-"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
KNOWN_IN_MESSAGE = 10
SHORT_ID = 10


@dataclass(frozen=True)
class BaseModel:
    """A base model as it lies in its folder."""

    name: str
    folder: Path
    digest: str
    defaults: dict[str, Any] | None
    size: PipelineSize | None


@dataclass(frozen=True)
class Resolved:
    """What a model's name stands for. ``pipeline`` and ``weights`` are sources (core.sources)."""

    model_id: str
    base_model_id: str
    pipeline: str
    digest: str
    weights: str | None
    defaults: dict[str, Any]


def base_models(settings: Settings) -> list[BaseModel]:
    """Read the base models that lie in their folders now; slow, and so before any transaction.

    Raises:
        ValueError: a folder has no usable name or defaults.
    """
    found = []
    for name, folder in settings.base_model_folders().items():
        if not NAME.fullmatch(name):
            raise ValueError(
                f"{folder}: name a base model's folder by letters, digits, dot, dash, underscore"
            )
        recommended = folder / "spindle" / "defaults.json"
        defaults = json.loads(recommended.read_text()) if recommended.is_file() else None
        if defaults is not None and not isinstance(defaults, dict):
            raise ValueError(f"{recommended} is not an object of hyperparameters by method")
        found.append(BaseModel(name, folder, digests.of_folder(folder), defaults, of_pipeline(folder)))
    return found


def register_base_models(session: Session, found: Sequence[BaseModel]) -> list[str]:
    """Make the base models those that were found, and return their names.

    One that is gone is no longer offered; jobs and results that came from it stay.
    """
    known = {model.id: model for model in session.scalars(select(Model).where(Model.kind == ModelKind.base))}
    for one in found:
        model = known.pop(one.name, None) or Model(id=one.name, kind=ModelKind.base, created_at=utcnow())
        model.source = f"folder:{one.folder}"
        model.digest = one.digest
        model.defaults = one.defaults
        model.size = None if one.size is None else one.size.as_json()
        model.deleted_at = None
        session.add(model)
    for model in known.values():
        model.deleted_at = model.deleted_at or utcnow()
    session.flush()
    return [one.name for one in found]


def list_models(session: Session, *, project_id: str, after: str | None, limit: int) -> Page[Model]:
    """Return base models and the project's results, newest first; Invalid when ``after`` is none of them."""
    statement = select(Model).where(_visible(project_id))
    if after is not None:
        last = _find(session, project_id, after)
        if last is None:
            raise Invalid(f"after: there is no model {after}", param="after")
        statement = statement.where(
            or_(
                Model.created_at < last.created_at,
                and_(Model.created_at == last.created_at, Model.id < last.id),
            )
        )
    rows = list(
        session.scalars(statement.order_by(Model.created_at.desc(), Model.id.desc()).limit(limit + 1))
    )
    return Page(rows[:limit], len(rows) > limit)


def get_model(session: Session, *, project_id: str, model_id: str) -> Model:
    """Return a model, or a checkpoint as a model that is no row; NotFound names the models there are."""
    if model_id.startswith(CHECKPOINT):
        checkpoint, job = _checkpoint(session, project_id, model_id)
        base = session.get(Model, job.base_model_id)
        return Model(
            id=checkpoint.id,
            project_id=job.project_id,
            kind=ModelKind.checkpoint,
            source=f"checkpoint:{checkpoint.id}/{WEIGHTS}",
            digest=digests.of_manifest(checkpoint.files),
            base_model_id=job.base_model_id,
            job_id=job.id,
            defaults=base.defaults if base is not None else None,
            created_at=checkpoint.created_at,
        )
    model = _find(session, project_id, model_id)
    if model is None:
        raise _unknown(session, project_id, model_id, "model")
    return model


def delete_model(session: Session, *, project_id: str, model_id: str) -> None:
    """Delete a result; its job, its checkpoints and what was trained from it stay.

    Raises:
        Conflict: it is a base model or a checkpoint.
    """
    model = get_model(session, project_id=project_id, model_id=model_id)
    if model.kind is not ModelKind.result:
        raise Conflict(f"{model_id} is a {model.kind.value}: only results of jobs can be deleted")
    session.execute(update(Model).where(Model.id == model_id).values(deleted_at=utcnow()))


def resolve_for_use(session: Session, *, project_id: str, name: str, param: str = "model") -> Resolved:
    """Return what a name stands for: a base model, a result, or a checkpoint.

    Raises:
        NotFound: nothing of that name is the project's; the message names the models there are.
    """
    if name.startswith(CHECKPOINT):
        if not take_hold(session, name):
            raise NotFound(f"there is no checkpoint {name}", param=param, code="model_not_found")
        checkpoint, job = _checkpoint(session, project_id, name, param)
        base = session.get(Model, job.base_model_id)
        return Resolved(
            model_id=checkpoint.id,
            base_model_id=job.base_model_id,
            pipeline=job.pipeline,
            digest=job.pipeline_digest,
            weights=f"checkpoint:{checkpoint.id}/{WEIGHTS}",
            defaults=(base.defaults if base is not None else None) or {},
        )
    model = _find(session, project_id, name)
    if model is None:
        raise _unknown(session, project_id, name, param)
    return Resolved(
        model_id=model.id,
        base_model_id=model.base_model_id or model.id,
        pipeline=model.source,
        digest=model.digest,
        weights=None,
        defaults=model.defaults or {},
    )


def files_of(session: Session, *, project_id: str, model_id: str) -> Source:
    """Return the files of a model: a complete pipeline, or of a checkpoint its weights."""
    return resolve(session, get_model(session, project_id=project_id, model_id=model_id).source)


def publish(session: Session, *, job: Job, unit_id: str, output: dict[str, Any]) -> Model:
    """Write the model that a job made, ``ft:BASE:SUFFIX:ID``; told twice, a job still makes one model."""
    model_id = f"ft:{job.base_model_id}:{job.suffix or ''}:{job.id[-SHORT_ID:]}"
    known = session.get(Model, model_id)
    if known is not None:
        return known
    base = session.get(Model, job.base_model_id)
    files = [file for file in output["files"] if file["path"].startswith(f"{MODEL}/")]
    assert files, f"{unit_id} published no {MODEL}/"
    model = Model(
        id=model_id,
        project_id=job.project_id,
        kind=ModelKind.result,
        source=f"unit:{unit_id}/{MODEL}",
        digest=digests.of_manifest(files),
        base_model_id=job.base_model_id,
        job_id=job.id,
        defaults=base.defaults if base is not None else None,
        created_at=utcnow(),
    )
    session.add(model)
    session.flush()
    return model


def lineage(session: Session, *, project_id: str, model_id: str) -> list[dict[str, Any]]:
    """Return the steps that led to a model, from itself back to its base model and data."""
    steps: list[dict[str, Any]] = []
    current: str | None = model_id
    while current is not None:
        step, current = _step(session, project_id, current, first=not steps)
        steps += step
    return steps


def _visible(project_id: str) -> Any:
    return and_(
        or_(Model.project_id.is_(None), Model.project_id == project_id),
        Model.deleted_at.is_(None),
    )


def _find(session: Session, project_id: str, model_id: str) -> Model | None:
    return session.scalar(select(Model).where(Model.id == model_id, _visible(project_id)))


def _checkpoint(
    session: Session, project_id: str, checkpoint_id: str, param: str = "model"
) -> tuple[Checkpoint, Job]:
    found = session.execute(
        select(Checkpoint, Job)
        .join(Job, Job.id == Checkpoint.job_id)
        .where(Checkpoint.id == checkpoint_id, Job.project_id == project_id)
    ).first()
    if found is None:
        raise NotFound(f"there is no checkpoint {checkpoint_id}", param=param, code="model_not_found")
    return found[0], found[1]


def _unknown(session: Session, project_id: str, name: str, param: str) -> NotFound:
    known = session.scalars(
        select(Model.id)
        .where(_visible(project_id))
        .order_by(Model.created_at.desc(), Model.id)
        .limit(KNOWN_IN_MESSAGE)
    ).all()
    return NotFound(
        f"there is no model {name}; there are: {', '.join(sorted(known)) or 'none yet'}",
        param=param,
        code="model_not_found",
    )


def _step(
    session: Session, project_id: str, model_id: str, *, first: bool
) -> tuple[list[dict[str, Any]], str | None]:
    """Return what one model adds to a lineage, and the model that its job started from."""
    if first or model_id.startswith(CHECKPOINT):
        model = get_model(session, project_id=project_id, model_id=model_id)
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
    return step, job.model_id


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
