"""What a job leaves behind while it runs: events, metrics, samples, checkpoints."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from core.models.base import Base

RowId = BigInteger().with_variant(Integer(), "sqlite")


class Event(Base):
    """One line of a job's history; ``seq`` counts from 1 without gaps within the job."""

    __tablename__ = "event"
    __table_args__ = (UniqueConstraint("job_id", "seq"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("job.id"))
    seq: Mapped[int]
    fence: Mapped[int | None]
    type: Mapped[str] = mapped_column(String(40))
    level: Mapped[str] = mapped_column(String(10))
    message: Mapped[str] = mapped_column(Text)
    data: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]


class Metric(Base):
    """One value of one series of a job."""

    __tablename__ = "metric"
    __table_args__ = (
        UniqueConstraint("job_id", "name", "iteration", "step"),
        Index("ix_metric_job_id_seq", "job_id", "seq"),
    )

    seq: Mapped[int] = mapped_column(RowId, primary_key=True, autoincrement=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("job.id"))
    iteration: Mapped[int]
    step: Mapped[int]
    name: Mapped[str] = mapped_column(String(80))
    value: Mapped[float | None]
    low: Mapped[float | None]
    high: Mapped[float | None]
    created_at: Mapped[datetime]


class Sample(Base):
    """One picture of an iteration's preview."""

    __tablename__ = "sample"

    job_id: Mapped[str] = mapped_column(ForeignKey("job.id"), primary_key=True)
    iteration: Mapped[int] = mapped_column(primary_key=True)
    index: Mapped[int] = mapped_column(primary_key=True)
    prompt: Mapped[str] = mapped_column(Text)
    seed: Mapped[int] = mapped_column(BigInteger)
    key: Mapped[str] = mapped_column(String(500))
    created_at: Mapped[datetime]


class Checkpoint(Base):
    """A verified checkpoint: it exists from the moment this row does."""

    __tablename__ = "checkpoint"
    __table_args__ = (UniqueConstraint("unit_id", "step"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("job.id"), index=True)
    unit_id: Mapped[str] = mapped_column(ForeignKey("unit.id"))
    fence: Mapped[int]
    iteration: Mapped[int]
    step: Mapped[int]
    output: Mapped[dict[str, Any]]
    """Manifest: {"files": {path: {"key", "sha256", "size"}}}."""
    metrics: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
