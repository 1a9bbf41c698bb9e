"""The newest pictures of jobs, for those who look at many jobs at once."""

from collections import defaultdict
from collections.abc import Sequence

from sqlalchemy import and_, func, select
from sqlalchemy.orm import Session

from core.models import Sample


def newest_previews(session: Session, *, job_ids: Sequence[str], limit: int = 4) -> dict[str, list[Sample]]:
    """Return the first previews of each job's newest iteration, in one query; -1 is the base model's."""
    newest = (
        select(Sample.job_id, func.max(Sample.iteration).label("iteration"))
        .where(Sample.job_id.in_(job_ids))
        .group_by(Sample.job_id)
        .subquery()
    )
    of_newest = and_(Sample.job_id == newest.c.job_id, Sample.iteration == newest.c.iteration)
    found: dict[str, list[Sample]] = defaultdict(list)
    rows = select(Sample).join(newest, of_newest).where(Sample.index < limit).order_by(Sample.index)
    for sample in session.scalars(rows):
        found[sample.job_id].append(sample)
    return found
