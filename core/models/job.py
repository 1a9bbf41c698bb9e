"""Fine-tuning jobs."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from core.models.base import Base, checked


class JobState(StrEnum):
    """Where a job stands. The last three are final."""

    VALIDATING_FILES = "validating_files"
    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


FINAL_JOB_STATES = (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


class Job(Base):
    """One fine-tuning job; its work is in ``unit`` rows."""

    __tablename__ = "job"
    __table_args__ = (Index("ix_job_project_id_id", "project_id", "id"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("project.id"))
    model: Mapped[str] = mapped_column(String(200))
    """What the user named: a model's or a checkpoint's id."""
    dataset_id: Mapped[str] = mapped_column(ForeignKey("dataset.id"), index=True)
    validation_dataset_id: Mapped[str | None] = mapped_column(ForeignKey("dataset.id"))
    training_file: Mapped[str] = mapped_column(String(40))
    validation_file: Mapped[str | None] = mapped_column(String(40))
    method: Mapped[dict[str, Any]]
    """Resolved: ``spin_engine.config.Method`` with every default filled in."""
    seed: Mapped[int]
    suffix: Mapped[str | None] = mapped_column(String(64))
    labels: Mapped[dict[str, Any]]
    """The user's ``metadata``."""
    priority: Mapped[int] = mapped_column(default=0)
    state: Mapped[JobState] = mapped_column(checked(JobState), index=True)
    pause_requested: Mapped[bool] = mapped_column(default=False)
    cancel_requested: Mapped[bool] = mapped_column(default=False)
    failure: Mapped[dict[str, Any] | None]
    result_model_id: Mapped[str | None] = mapped_column(String(200))
    event_seq: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
