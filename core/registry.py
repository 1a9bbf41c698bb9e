"""Models by name: base models, results, imports, each checkpoint under its id, and registered names."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, or_, select, update
from sqlalchemy.orm import Session

from core import digests
from core.clock import utcnow
from core.comparisons.use import drawn_by
from core.errors import Conflict, Invalid, NotFound
from core.models import Checkpoint, Job, Model, ModelImport, ModelKind
from core.paging import Page
from core.registered.lookup import Found, find_version, versions_of
from core.registered.spelling import reference
from core.runs.lifecycle import QUIETLY
from core.runs.retention import take_hold
from core.sources import MODEL, WEIGHTS, Source, resolve

CHECKPOINT = "ftckpt-"
KNOWN_IN_MESSAGE = 10
SHORT_ID = 10
OWN = (ModelKind.result, ModelKind.imported)
"""What a project makes, and may delete."""


@dataclass(frozen=True)
class Resolved:
    """What a model's name stands for. ``pipeline`` and ``weights`` are sources (core.sources).

    ``alias`` is ``NAME@ALIAS`` when the model was asked for by an alias.
    """

    model_id: str
    base_model_id: str
    pipeline: str
    digest: str
    weights: str | None
    defaults: dict[str, Any]
    alias: str | None = None


def list_models(
    session: Session,
    *,
    project_id: str,
    after: str | None,
    limit: int,
    kind: ModelKind | None = None,
    search: str | None = None,
) -> Page[Model]:
    """Return base models and the project's own, newest first.

    Args:
        session: an open transaction.
        project_id: whose they are.
        after: the last model seen.
        limit: how many at most.
        kind: only such.
        search: only those with this in their id, in capitals or not.

    Raises:
        Invalid: ``after`` is none of the models.
    """
    statement = select(Model).where(_visible(project_id))
    if kind is not None:
        statement = statement.where(Model.kind == kind)
    if search is not None:
        statement = statement.where(Model.id.icontains(search, autoescape=True))
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


def get_model(session: Session, *, project_id: str, model_id: str, param: str = "model") -> Model:
    """Return a model by any of its names, or a checkpoint as a model that is no row.

    An alias that is split stands for its own version.

    Raises:
        NotFound: nothing of that name is the project's; the message names the models there are.
    """
    if not model_id.startswith(CHECKPOINT):
        found = _registered(session, project_id, model_id, param, settled=True)
        model_id = model_id if found is None else found.version.model_id
    if model_id.startswith(CHECKPOINT):
        return _as_model(session, *_checkpoint(session, project_id, model_id, param))
    model = _find(session, project_id, model_id)
    if model is None:
        raise _unknown(session, project_id, model_id, param)
    return model


def hold_model(session: Session, *, project_id: str, name: str, param: str = "model") -> Model:
    """Return a model that is neither deleted nor thinned out before the transaction ends.

    Raises:
        NotFound: there is none of that name, or it has gone this moment.
        Invalid: it is a base model, which nobody can delete.
    """
    model = get_model(session, project_id=project_id, model_id=name, param=param)
    if model.kind is ModelKind.base:
        raise Invalid(
            f"{name} is a base model; name a result, a checkpoint or an import",
            param=param,
            code="base_model",
        )
    held = take_hold(session, model.id) if model.kind is ModelKind.checkpoint else _hold(session, model.id)
    if not held:
        raise _unknown(session, project_id, name, param)
    return model


def delete_model(session: Session, *, project_id: str, model_id: str) -> None:
    """Delete a result or an import; its job, its checkpoints and what was trained from it stay.

    Raises:
        Conflict: it is a base model or a checkpoint, a version names it, or a comparison is being drawn with
            it.
    """
    model = get_model(session, project_id=project_id, model_id=model_id)
    if model.kind not in OWN:
        raise Conflict(f"{model_id} is a {model.kind.value}: only results and imports can be deleted")
    _hold(session, model.id)  # whoever makes it a version now is seen, or sees that it is gone
    named = versions_of(session, [model.id])
    if named:
        raise Conflict(
            f"{model.id} is registered as {', '.join(named[model.id])}; delete that version first",
            param="model",
            code="model_registered",
        )
    comparison = drawn_by(session, model_id=model.id)
    if comparison is not None:
        raise Conflict(
            f"{comparison} is being drawn with {model.id}; wait until it is ready, or delete it",
            param="model",
            code="model_in_use",
        )
    session.execute(update(Model).where(Model.id == model.id).values(deleted_at=utcnow()))


def resolve_for_use(
    session: Session,
    *,
    project_id: str,
    name: str,
    param: str = "model",
    request_key: str | None = None,
    settled: bool = False,
) -> Resolved:
    """Return what a name stands for: a base model, a result, an import, a checkpoint, a registered name.

    Args:
        session: an open transaction.
        project_id: whose it is.
        name: ``starter``, ``ft:...``, ``ftckpt-...``, ``portrait``, ``portrait@3``, ``portrait@production``.
        param: the field it was written in.
        request_key: what decides between the versions of a split alias, always alike; None: chance does.
        settled: a split does not count: what is not served, but worked with, takes the alias's own version.

    Raises:
        NotFound: nothing of that name is the project's; the message names the models there are.
    """
    alias = None
    if not name.startswith(CHECKPOINT):
        found = _registered(session, project_id, name, param, request_key, settled=settled)
        if found is not None:
            name, alias = found.version.model_id, found.alias
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
            alias=alias,
        )
    model = _find(session, project_id, name)
    if model is None:
        raise _unknown(session, project_id, name, param)
    return Resolved(
        model_id=model.id,
        base_model_id=model.base_model_id or model.id,
        pipeline=model.source,
        digest=_digest_of_pipeline(session, model),
        weights=model.weights,
        defaults=model.defaults or {},
        alias=alias,
    )


def files_of(session: Session, *, project_id: str, model_id: str) -> Source:
    """Return the files of a model: a complete pipeline, or of a checkpoint or a LoRA its weights."""
    model = get_model(session, project_id=project_id, model_id=model_id)
    return resolve(session, model.weights or model.source)


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


def _visible(project_id: str) -> Any:
    return and_(
        or_(Model.project_id.is_(None), Model.project_id == project_id),
        Model.deleted_at.is_(None),
    )


def _find(session: Session, project_id: str, model_id: str) -> Model | None:
    return session.scalar(select(Model).where(Model.id == model_id, _visible(project_id)))


def _registered(
    session: Session,
    project_id: str,
    name: str,
    param: str,
    request_key: str | None = None,
    *,
    settled: bool,
) -> Found | None:
    asked = reference(name)
    if asked is None:
        return None
    return find_version(
        session, project_id=project_id, asked=asked, param=param, request_key=request_key, settled=settled
    )


def _hold(session: Session, model_id: str) -> bool:
    """Lock a model's row; False when it is deleted."""
    held = session.scalar(
        update(Model)
        .where(Model.id == model_id, Model.deleted_at.is_(None))
        .values(digest=Model.digest)
        .returning(Model.id)
        .execution_options(**QUIETLY)
    )
    return held is not None


def _digest_of_pipeline(session: Session, model: Model) -> str:
    """Return the digest of what a model's weights are loaded into, or of itself."""
    if model.weights is None:
        return model.digest
    found = session.scalar(select(ModelImport.digest).where(ModelImport.model_id == model.id))
    assert found is not None, f"{model.id} has weights, and so was imported for a base model"
    return found


def _as_model(session: Session, checkpoint: Checkpoint, job: Job) -> Model:
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
