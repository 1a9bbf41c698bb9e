"""Versions of registered names."""

from datetime import datetime

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from core.clock import UtcDateTime, utcnow
from core.models.columns import Base


class ModelVersion(Base):
    """One version of a name: a result, a checkpoint or an import, kept for as long as the row is."""

    __tablename__ = "model_version"

    registered_id: Mapped[str] = mapped_column(ForeignKey("registered_model.id"), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    model_id: Mapped[str] = mapped_column(index=True)
    notes: Mapped[str | None]
    created_by: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
