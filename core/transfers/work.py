"""What a worker needs for an export or an import."""

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.cards.previews import previews_of
from core.db import settings_of
from core.ingest.limits import Limits
from core.intake import limits_of
from core.models import Checkpoint, File, Model, ModelExport, ModelImport
from core.runs.claims import Claim
from core.sources import Source, SourceFile, resolve


@dataclass(frozen=True)
class ExportWork:
    """A model to be written, and how."""

    format: str
    title: str
    card: str
    filename: str
    base: Source
    weights: Source | None
    previews: Source | None


@dataclass(frozen=True)
class ImportWork:
    """A file to be made a model of, and the base model that it is for."""

    file: SourceFile
    limits: Limits
    base: Source | None
    alpha: float | None


def export_work(session: Session, claim: Claim) -> ExportWork:
    """Return what an export has to write."""
    row = session.get_one(ModelExport, claim.transfer_id)
    of_checkpoint = select(Checkpoint.job_id).where(Checkpoint.id == row.model_id)
    of_model = select(Model.job_id).where(Model.id == row.model_id)
    shown = previews_of(session, session.scalar(of_checkpoint) or session.scalar(of_model))
    return ExportWork(
        format=row.format.value,
        title=row.model_id,
        card=row.card,
        filename=row.filename,
        base=resolve(session, row.pipeline),
        weights=None if row.weights is None else resolve(session, row.weights),
        previews=Source(files=tuple(each.file for each in shown)) if shown else None,
    )


def import_work(session: Session, claim: Claim) -> ImportWork:
    """Return what an import has to check."""
    row = session.get_one(ModelImport, claim.transfer_id)
    file = session.get_one(File, row.file_id)
    return ImportWork(
        file=SourceFile(file.filename, file.key, file.sha256, file.bytes),
        limits=limits_of(settings_of(session)),
        base=None if row.pipeline is None else resolve(session, row.pipeline),
        alpha=row.alpha,
    )
