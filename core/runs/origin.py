"""Who asked for a unit: the request that made what it is of."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.models import Dataset, Job, ModelExport, ModelImport
from core.runs.claims import Claim
from core.runs.places import EXPORT


def origin_of(session: Session, claim: Claim) -> dict[str, str]:
    """Return the request's id and trace, as core.tracing keeps them; empty when they are not known."""
    if claim.job_id is not None:
        return session.scalar(select(Job.origin).where(Job.id == claim.job_id)) or {}
    if claim.transfer_id is not None:
        table = ModelExport if claim.transfer_id.startswith(EXPORT) else ModelImport
        return session.scalar(select(table.origin).where(table.id == claim.transfer_id)) or {}
    return session.scalar(select(Dataset.origin).where(Dataset.id == claim.dataset_id)) or {}
