"""Exports: a model in the form that another program reads, made once for the same bytes."""

import hashlib
import re
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from core import registry
from core.cards.markdown import PREVIEW_FOLDER, card_of
from core.clock import database_now, utcnow
from core.db import settings_of
from core.errors import Conflict, NotFound
from core.ids import new_id
from core.models import ExportFormat, Job, Model, ModelExport, ModelKind, TransferState, Unit, UnitKind
from core.paging import Page, page
from core.runs.lifecycle import QUIETLY
from core.runs.places import EXPORT
from core.sources import Source, resolve
from core.transfers.units import begin, take_turns
from core.webhooks.events import EventType, emit

ADAPTER = "pytorch_lora_weights.safetensors"
WRITTEN_AS = "1"
"""Changes when the same model would be written as other bytes."""
DAY_SECONDS = 24 * 3600.0
ENDS = {ExportFormat.diffusers: ".zip"}


def request_export(
    session: Session, *, project_id: str, model: str, form: ExportFormat, key_id: str | None = None
) -> ModelExport:
    """Return the export of a model in a form; a worker makes it, unless it is there already.

    Raises:
        NotFound: there is no such model.
        Conflict: all its weights were trained, so that there is no LoRA.
    """
    found = registry.get_model(session, project_id=project_id, model_id=model)
    if found.kind not in (*registry.OWN, ModelKind.base):
        registry.resolve_for_use(session, project_id=project_id, name=found.id)  # holds a checkpoint
    pipeline, weights = pipeline_of(session, found)
    if form is not ExportFormat.diffusers:
        _require_adapter(found.id, resolve(session, weights or pipeline))
    card = card_of(session, found, link=lambda shown: f"{PREVIEW_FOLDER}/{shown.filename}")
    content_key = _content_key(session, found, form, card)
    take_turns(session, project_id)
    known = session.scalar(
        select(ModelExport)
        .where(
            ModelExport.project_id == project_id,
            ModelExport.content_key == content_key,
            ModelExport.state != TransferState.failed,
        )
        .limit(1)
    )
    if known is not None:
        known.used_at = utcnow()
        session.flush()
        return known
    export = ModelExport(
        id=new_id(EXPORT),
        project_id=project_id,
        model_id=found.id,
        format=form,
        content_key=content_key,
        pipeline=pipeline,
        weights=weights,
        card=card,
        filename=filename_of(found.id, form),
        created_by=key_id,
    )
    session.add(export)
    session.flush()
    begin(session, project_id=project_id, transfer_id=export.id, kind=UnitKind.export)
    return export


def pipeline_of(session: Session, model: Model) -> tuple[str, str | None]:
    """Return the sources of a model: its pipeline, and the weights on top of it."""
    if model.kind is ModelKind.checkpoint:
        job = session.get_one(Job, model.job_id)
        return job.pipeline, model.source
    return model.source, model.weights


def filename_of(model_id: str, form: ExportFormat) -> str:
    """Return what to call the file of an export."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", model_id).strip("-.")
    mark = "" if form is ExportFormat.diffusers else f"-{form.value}"
    return f"{stem}{mark}{ENDS.get(form, '.safetensors')}"


def _require_adapter(model_id: str, source: Source) -> None:
    names = {file.path for file in source.files}
    if ADAPTER in names or (source.folder is not None and (Path(source.folder) / ADAPTER).is_file()):
        return
    raise Conflict(
        f"{model_id} has no LoRA: all its weights were trained; export it as diffusers",
        param="format",
        code="no_lora",
    )


def _content_key(session: Session, model: Model, form: ExportFormat, card: str) -> str:
    """Return what decides the bytes of an export; a LoRA file has no card."""
    told = [WRITTEN_AS, form.value, model.id, model.digest]
    if model.kind is ModelKind.checkpoint:
        told.append(session.get_one(Job, model.job_id).pipeline_digest)
    if form is ExportFormat.diffusers:
        told.append(card)
    return hashlib.sha256("\0".join(told).encode()).hexdigest()


def get_export(session: Session, *, project_id: str, model: str, form: ExportFormat) -> ModelExport:
    """Return the newest export of a model in a form; NotFound when nobody has asked for one lately."""
    found = registry.get_model(session, project_id=project_id, model_id=model)
    export = session.scalar(
        select(ModelExport)
        .where(
            ModelExport.project_id == project_id,
            ModelExport.model_id == found.id,
            ModelExport.format == form,
        )
        .order_by(ModelExport.id.desc())
        .limit(1)
    )
    if export is None:
        raise NotFound(
            f"{found.id} has no export as {form.value}; ask for one with POST /v1/models/{{model}}/exports",
            param="format",
            code="export_not_found",
        )
    return export


def list_exports(
    session: Session, *, project_id: str, model: str, after: str | None, limit: int
) -> Page[ModelExport]:
    """Return a model's exports, newest first; Invalid when ``after`` is none of them."""
    found = registry.get_model(session, project_id=project_id, model_id=model)
    statement = select(ModelExport).where(
        ModelExport.project_id == project_id, ModelExport.model_id == found.id
    )
    return page(session, statement, by=ModelExport.id, after=after, limit=limit)


def note_use(session: Session, export: ModelExport) -> str:
    """Keep an export that is being read from being deleted, and return the key of its bytes.

    Raises:
        Conflict: it is not ready.
    """
    if export.state is not TransferState.ready or export.key is None:
        why = (export.failure or {}).get("message", "a worker is making it; ask again")
        raise Conflict(f"{export.id} is {export.state.value}: {why}", code="export_not_ready")
    session.execute(update(ModelExport).where(ModelExport.id == export.id).values(used_at=database_now()))
    return export.key


def complete(session: Session, *, export_id: str, output: dict[str, Any]) -> None:
    """Make an export ready, whose file is the one of the output."""
    [file] = output["files"]
    ready = {"key": file["key"], "bytes": file["size"], "sha256": file["sha256"]}
    _end(session, export_id, TransferState.ready, ready)


def fail(session: Session, *, export_id: str, reason: str, message: str) -> None:
    """Mark an export as one that cannot be made."""
    _end(session, export_id, TransferState.failed, {"failure": {"reason": reason, "message": message}})


def _end(session: Session, export_id: str, state: TransferState, values: dict[str, Any]) -> None:
    project_id = session.scalar(
        update(ModelExport)
        .where(ModelExport.id == export_id, ModelExport.state == TransferState.pending)
        .values(state=state, finished_at=utcnow(), used_at=utcnow(), **values)
        .returning(ModelExport.project_id)
        .execution_options(**QUIETLY)
    )
    if project_id is not None:
        event = EventType.export_ready if state is TransferState.ready else EventType.export_failed
        emit(session, project_id=project_id, event=event, data={"id": export_id, "status": state.value})


def forget_unused(session: Session, *, limit: int = 100, now: datetime | None = None) -> int:
    """Delete exports that nobody has asked for in ``export_days``; return how many.

    Their objects are cleared with the leftovers of their units.
    """
    before = database_now(plus=-settings_of(session).export_days * DAY_SECONDS, now=now)
    old = (
        select(ModelExport.id)
        .where(
            ModelExport.state != TransferState.pending,
            ModelExport.used_at < before,
        )
        .order_by(ModelExport.used_at)
        .limit(limit)
    )
    gone = session.scalars(
        delete(ModelExport)
        .where(ModelExport.id.in_(old), ModelExport.used_at < before)
        .returning(ModelExport.id)
        .execution_options(**QUIETLY)
    ).all()
    session.execute(
        update(Unit)
        .where(Unit.transfer_id.in_(gone))
        .values(output={"files": []}, cleared_at=None)
        .execution_options(**QUIETLY)
    )
    return len(gone)
