"""Measured numbers."""

from sqlalchemy import Double, ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from core.models.columns import Base


class Metric(Base):
    """One number. A step that is run again after a resume measures the same, and is kept once."""

    __tablename__ = "metric"
    __table_args__ = (UniqueConstraint("job_id", "iteration", "step", "name"),)

    job_id: Mapped[str] = mapped_column(ForeignKey("job.id"), primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    iteration: Mapped[int]
    step: Mapped[int]
    name: Mapped[str]
    value: Mapped[float] = mapped_column(Double)
