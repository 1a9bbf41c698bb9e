"""Which datasets the votes of a comparison have become."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.models import Comparison, Dataset, DatasetPairs

MOST = 20


def datasets_of(session: Session, *, comparison: Comparison) -> Sequence[Dataset]:
    """Return the datasets that were made of a comparison's votes, the newest first."""
    made = (
        select(Dataset)
        .join(DatasetPairs, DatasetPairs.dataset_id == Dataset.id)
        .where(DatasetPairs.comparison_id == comparison.id)
        .order_by(Dataset.id.desc())
        .limit(MOST)
    )
    return session.scalars(made).all()
