"""Who asked for a unit: the request that made its job or dataset."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.models import Dataset, Job
from core.runs.claims import Claim


def origin_of(session: Session, claim: Claim) -> dict[str, str]:
    """Return the request's id and trace, as core.tracing keeps them; empty when they are not known."""
    if claim.job_id is not None:
        return session.scalar(select(Job.origin).where(Job.id == claim.job_id)) or {}
    return session.scalar(select(Dataset.origin).where(Dataset.id == claim.dataset_id)) or {}
