"""Units of work."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from core.models.base import Base, checked


class UnitKind(StrEnum):
    """What a unit does."""

    INGEST = "ingest"
    ENCODE = "encode"
    GENERATE = "generate"
    TRAIN = "train"
    EVALUATE = "evaluate"
    PUBLISH = "publish"


class UnitState(StrEnum):
    """Where a unit stands."""

    WAITING = "waiting"
    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Unit(Base):
    """One piece of work that one worker does under a lease; ``fence`` rises with every claim."""

    __tablename__ = "unit"
    __table_args__ = (
        Index("ix_unit_claim", "state", "priority", "id"),
        Index("ix_unit_lease", "state", "lease_expires_at"),
        Index("ix_unit_content_key", "content_key"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    job_id: Mapped[str | None] = mapped_column(ForeignKey("job.id"), index=True)
    dataset_id: Mapped[str | None] = mapped_column(ForeignKey("dataset.id"), index=True)
    kind: Mapped[UnitKind] = mapped_column(checked(UnitKind))
    iteration: Mapped[int] = mapped_column(default=0)
    shard: Mapped[int] = mapped_column(default=0)
    shards: Mapped[int] = mapped_column(default=1)
    priority: Mapped[int] = mapped_column(default=0)
    state: Mapped[UnitState] = mapped_column(checked(UnitState))
    needs: Mapped[list[str]]
    attempt: Mapped[int] = mapped_column(default=0)
    strikes: Mapped[int] = mapped_column(default=0)
    """Failures since the last progress; too many park the unit."""
    fence: Mapped[int] = mapped_column(default=0)
    lease_expires_at: Mapped[datetime | None]
    worker: Mapped[str | None] = mapped_column(String(200))
    not_before: Mapped[datetime | None]
    output: Mapped[dict[str, Any] | None]
    progress: Mapped[dict[str, Any] | None]
    failure: Mapped[dict[str, Any] | None]
    content_key: Mapped[str | None] = mapped_column(String(64))
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
