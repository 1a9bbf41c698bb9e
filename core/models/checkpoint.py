"""Checkpoints."""

from datetime import datetime

from sqlalchemy import ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from core.clock import UtcDateTime, utcnow
from core.models.columns import Base, Data, Json


class Checkpoint(Base):
    """Saved weights and trainer state. The row makes its objects visible: ``files`` is the manifest."""

    __tablename__ = "checkpoint"
    __table_args__ = (UniqueConstraint("unit_id", "step"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("job.id"), index=True)
    unit_id: Mapped[str] = mapped_column(ForeignKey("unit.id"))
    iteration: Mapped[int]
    step: Mapped[int]
    files: Mapped[list[Data]] = mapped_column(Json)
    metrics: Mapped[Data | None] = mapped_column(Json)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
