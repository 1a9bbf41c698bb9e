"""Which models a comparison that is being drawn still needs. It knows tables alone: anyone may ask it."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.models import Comparison, ComparisonModel, ComparisonState


def drawn_by(session: Session, *, model_id: str) -> str | None:
    """Return a comparison that is still being drawn with a model; None when there is none."""
    return session.scalar(
        select(Comparison.id)
        .join(ComparisonModel, ComparisonModel.comparison_id == Comparison.id)
        .where(
            ComparisonModel.model_id == model_id,
            Comparison.state == ComparisonState.drawing,
            Comparison.deleted_at.is_(None),
        )
        .limit(1)
    )


def models_in_use(session: Session) -> set[str]:
    """Return the ids of all models that comparisons are still being drawn with."""
    return set(
        session.scalars(
            select(ComparisonModel.model_id)
            .join(Comparison, Comparison.id == ComparisonModel.comparison_id)
            .where(Comparison.state == ComparisonState.drawing, Comparison.deleted_at.is_(None))
        )
    )
