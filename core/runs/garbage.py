"""Objects that nothing needs any more: of deleted models, and whatever lies where no row leads.

``leftovers`` looks at each unit once, soon after it ended. What comes later than that (a worker that was
frozen for hours ends its upload; a database that was restored knows less than the store) is found by
``sweep``, which holds every object against the rows.
"""

import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, or_, select, update
from sqlalchemy.orm import Session, aliased

from core.clock import database_now, utcnow
from core.db import Database, transaction
from core.models import (
    UNIT_ENDED,
    Dataset,
    Drawing,
    DrawingState,
    Job,
    Model,
    ModelExport,
    ModelImport,
    ModelVersion,
    TransferState,
    Unit,
)
from core.registry import OWN
from core.runs.leftovers import QUIET_SECONDS, told_of
from core.runs.lifecycle import QUIETLY
from core.storage.store import ObjectStore

SETTLED = timedelta(days=1)  # younger objects may be of work whose rows are still to come
BATCH = 500
ON_TOP = aliased(Model)
WHOLE = Model.weights.is_(None)  # a pipeline of its own, not weights on top of another one
OPEN = (DrawingState.pending, DrawingState.running)
GONE = ""  # the source of a model whose files no row tells of any more
OF_UNIT = re.compile(r"jobs/[^/]+/units/([^/]+)/")
OF_DATASET = re.compile(r"datasets/([^/]+)/")
OF_DRAWING = re.compile(r"drawings/([^/]+)/")
OF_TRANSFER = re.compile(r"(?:exports|imports)/([^/]+)/")


def forget_models(session: Session, *, limit: int = 20, now: datetime | None = None) -> int:
    """Let go of the files of models that were deleted an hour ago or earlier; return how many models.

    A model that a job started from keeps its files: that job's checkpoints need them to draw; and so does one
    that is registered or being exported. The files are cleared with the leftovers of the unit that made them.
    """
    models = session.scalars(
        select(Model)
        .where(
            Model.kind.in_(OWN),
            Model.source != GONE,
            Model.deleted_at < database_now(plus=-QUIET_SECONDS, now=now),
            *(~use.exists() for use in _uses()),
        )
        .order_by(Model.deleted_at)
        .limit(limit)
    ).all()
    for model in models:
        unit_id, _, folder = (model.weights or model.source).removeprefix("unit:").partition("/")
        output: dict[str, Any] = session.get_one(Unit, unit_id).output or {}
        kept = [file for file in output.get("files", ()) if not file["path"].startswith(f"{folder}/")]
        session.execute(
            update(Unit)
            .where(Unit.id == unit_id)
            .values(output=output | {"files": kept}, cleared_at=None)
            .execution_options(**QUIETLY)
        )
        model.source, model.weights = GONE, None
    session.flush()
    return len(models)


def _uses() -> tuple[Select[Any], ...]:
    """Return what finds uses of a model's files: jobs, drawings, exports, versions, and LoRA on top."""

    def reads(table: type[Job | Drawing | ModelExport]) -> ColumnElement[bool]:
        return or_(and_(WHOLE, table.pipeline == Model.source), table.weights == Model.weights)

    return (
        select(Job.id).where(reads(Job)),
        select(Drawing.id).where(reads(Drawing), Drawing.state.in_(OPEN)),
        select(ModelExport.id).where(reads(ModelExport), ModelExport.state == TransferState.pending),
        select(ModelVersion.model_id).where(ModelVersion.model_id == Model.id),
        select(ModelImport.id).where(
            WHOLE, ModelImport.pipeline == Model.source, ModelImport.state == TransferState.pending
        ),
        select(ON_TOP.id).where(
            WHOLE, ON_TOP.source == Model.source, ON_TOP.id != Model.id, ON_TOP.deleted_at.is_(None)
        ),
    )


def sweep(database: Database, store: ObjectStore, *, now: datetime | None = None) -> int:
    """Delete objects of a day or older of which no row tells, nor may yet come to; return how many.

    Uploaded files have a sweep of their own (core.files.clear_lost).
    """
    before = (now or utcnow()) - SETTLED
    deleted = 0
    for prefix in ("jobs/", "datasets/", "drawings/", "exports/", "imports/"):
        keys = store.list(prefix)
        while batch := list(islice(keys, BATCH)):
            with transaction(database) as session:
                unknown = _unknown(session, batch)
            for key in unknown:
                found = store.stat(key)
                if found is not None and found.modified < before:
                    store.delete(key)
                    deleted += 1
    return deleted


def _unknown(session: Session, keys: Iterable[str]) -> list[str]:
    """Return the keys of which no row tells, and whose unit, or what it is of, is over or not there."""
    owners: dict[tuple[re.Pattern[str], str], frozenset[str] | None] = {}
    unknown = []
    for key in keys:
        pattern, owner = _owner(key)
        if (pattern, owner) not in owners:
            owners[pattern, owner] = _kept(session, pattern, owner)
        kept = owners[pattern, owner]
        if kept is not None and key not in kept:
            unknown.append(key)
    return unknown


def _owner(key: str) -> tuple[re.Pattern[str], str]:
    for pattern in (OF_UNIT, OF_DATASET, OF_DRAWING, OF_TRANSFER):
        if found := pattern.match(key):
            return pattern, found[1]
    return OF_UNIT, ""  # no attempt writes there


def _kept(session: Session, pattern: re.Pattern[str], owner: str) -> frozenset[str] | None:
    """Return what rows tell of below an owner; None while it is being worked on."""
    if pattern is OF_DRAWING:
        return None if session.get(Drawing, owner) is not None else frozenset()
    if pattern is OF_UNIT:
        unit = session.get(Unit, owner)
    elif pattern is OF_TRANSFER:
        unit = session.scalars(select(Unit).where(Unit.transfer_id == owner)).first()
    else:
        dataset = session.get(Dataset, owner)
        if dataset is None:
            return frozenset()
        unit = session.scalars(select(Unit).where(Unit.dataset_id == owner)).first()
    if unit is None:
        return frozenset()
    return told_of(session, unit) if unit.state in UNIT_ENDED else None
