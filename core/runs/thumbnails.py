"""One preview a job: what its last iteration draws for the first prompt."""

from collections.abc import Collection

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.models import Sample


def thumbnails(session: Session, job_ids: Collection[str]) -> dict[str, str]:
    """Return the key of that picture for each job that has one; whose jobs they are is not asked."""
    first = select(Sample.job_id, Sample.key).where(Sample.job_id.in_(job_ids), Sample.index == 0)
    return {job_id: key for job_id, key in session.execute(first.order_by(Sample.iteration))}  # noqa: C416  rows
