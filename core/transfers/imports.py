"""Imports: an uploaded file becomes a model, or is refused with the reason."""

import re
from pathlib import PurePosixPath
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from core import digests, files, registry
from core.clock import utcnow
from core.errors import Invalid, NotFound
from core.ids import new_id
from core.models import File, Model, ModelImport, ModelKind, TransferState, UnitKind
from core.paging import Page, page
from core.registry import SHORT_ID
from core.runs.lifecycle import QUIETLY
from core.runs.places import IMPORT
from core.sources import MODEL, WEIGHTS
from core.transfers.units import begin
from core.webhooks.events import EventType, emit

LORA_SUFFIX = ".safetensors"
LONGEST_NAME = 64


def request_import(
    session: Session,
    *,
    project_id: str,
    file_id: str,
    name: str | None = None,
    base_model: str | None = None,
    alpha: float | None = None,
    licence: str | None = None,
    notes: str | None = None,
    key_id: str | None = None,
) -> ModelImport:
    """Let a worker check a file and make a model of it.

    Args:
        session: an open transaction.
        project_id: whose it is.
        file_id: of an uploaded file: a zip or tar of a diffusers folder, or one LoRA.
        name: a part of the model's name; None: the file's.
        base_model: what a LoRA is for, or a pipeline was made from; by any of its names.
        alpha: of a LoRA whose file does not tell it.
        licence: as the model card tells it.
        notes: what people should know.
        key_id: who does it.

    Raises:
        Invalid: there is no such file, or a LoRA without a base model.
        NotFound: there is no such base model.
    """
    file = hold_file(session, project_id, file_id)
    if file.filename.lower().endswith(LORA_SUFFIX) and base_model is None:
        raise Invalid("base_model: a LoRA is for a base model; name it", param="base_model")
    base = None if base_model is None else _base(session, project_id, base_model)
    import_id = new_id(IMPORT)
    row = ModelImport(
        id=import_id,
        project_id=project_id,
        file_id=file.id,
        name=name or _name_of(file),
        base_model_id=None if base is None else base.model_id,
        pipeline=None if base is None else base.pipeline,
        digest=None if base is None else base.digest,
        alpha=alpha,
        licence=licence,
        notes=notes,
        model_id=f"imported-{name or _name_of(file)}-{import_id[-SHORT_ID:]}",
        created_by=key_id,
    )
    session.add(row)
    session.flush()
    begin(session, project_id=project_id, transfer_id=row.id, kind=UnitKind.import_)
    return row


def hold_file(session: Session, project_id: str, file_id: str) -> File:
    """Return a file that cannot be deleted before the transaction ends."""
    held = session.scalar(
        update(File)
        .where(File.id == file_id, File.project_id == project_id, File.deleted_at.is_(None))
        .values(bytes=File.bytes)
        .returning(File.id)
        .execution_options(**QUIETLY)
    )
    if held is None:
        raise NotFound(f"there is no file {file_id}: upload it first", param="file", code="file_not_found")
    return files.get_file(session, project_id=project_id, file_id=held, param="file")


def _base(session: Session, project_id: str, name: str) -> registry.Resolved:
    found = registry.resolve_for_use(
        session, project_id=project_id, name=name, param="base_model", settled=True
    )
    if found.weights is not None:
        raise Invalid(
            f"base_model: {name} is itself weights on top of {found.base_model_id}; name a base model, a "
            "result, or an imported pipeline",
            param="base_model",
        )
    return found


def _name_of(file: File) -> str:
    stem = PurePosixPath(file.filename).name.partition(".")[0]
    return re.sub(r"[^A-Za-z0-9._-]+", "-", stem)[:LONGEST_NAME].strip("-._") or "model"


def get_import(session: Session, *, project_id: str, import_id: str) -> ModelImport:
    """Return an import; NotFound when it is not the project's."""
    row = session.get(ModelImport, import_id, populate_existing=True)
    if row is None or row.project_id != project_id:
        raise NotFound(f"there is no import {import_id}", param="import_id", code="import_not_found")
    return row


def list_imports(session: Session, *, project_id: str, after: str | None, limit: int) -> Page[ModelImport]:
    """Return the project's imports, newest first; Invalid when ``after`` is none of them."""
    statement = select(ModelImport).where(ModelImport.project_id == project_id)
    return page(session, statement, by=ModelImport.id, after=after, limit=limit)


def complete(session: Session, *, import_id: str, unit_id: str, output: dict[str, Any]) -> None:
    """Write the model that an import has become.

    Args:
        session: an open transaction, which has proven the claim of the unit.
        import_id: of the import.
        unit_id: whose output holds the files.
        output: ``{"files": manifest, "found": what the engine found, with the ``size`` of a pipeline}``.
    """
    found = output["found"]
    row = _end(session, import_id, TransferState.ready, {"found": found})
    if row is None:
        return
    base = None if row.base_model_id is None else session.get(Model, row.base_model_id)
    whole = found["kind"] == "pipeline"
    folder = MODEL if whole else WEIGHTS
    kept = [file for file in output["files"] if file["path"].startswith(f"{folder}/")]
    assert kept, f"{unit_id} left no {folder}/"
    assert whole or row.pipeline is not None, "weights are for a base model"
    source = f"unit:{unit_id}/{folder}"
    session.add(
        Model(
            id=row.model_id,
            project_id=row.project_id,
            kind=ModelKind.imported,
            source=source if whole else row.pipeline,
            weights=None if whole else source,
            digest=digests.of_manifest(kept),
            base_model_id=None if base is None else base.base_model_id or base.id,
            defaults=None if base is None else base.defaults,
            size=found.get("size"),
            created_at=utcnow(),
        )
    )
    session.flush()


def fail(session: Session, *, import_id: str, reason: str, message: str) -> None:
    """Mark an import as one that came to nothing."""
    told = {"failure": {"reason": reason, "message": message}}
    _end(session, import_id, TransferState.failed, told)


def _end(
    session: Session, import_id: str, state: TransferState, values: dict[str, Any]
) -> ModelImport | None:
    ended = session.scalar(
        update(ModelImport)
        .where(ModelImport.id == import_id, ModelImport.state == TransferState.pending)
        .values(state=state, finished_at=utcnow(), **values)
        .returning(ModelImport.id)
        .execution_options(**QUIETLY)
    )
    if ended is None:
        return None
    row = session.get_one(ModelImport, ended, populate_existing=True)
    event = EventType.import_ready if state is TransferState.ready else EventType.import_failed
    data = {"id": row.id, "status": state.value}
    emit(session, project_id=row.project_id, event=event, data=data)
    return row
