"""Pictures asked for through the API."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from core.models.base import Base, checked


class DrawingState(StrEnum):
    """Where a drawing stands."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class Drawing(Base):
    """One request for pictures, drawn by a serve worker under a lease."""

    __tablename__ = "drawing"
    __table_args__ = (Index("ix_drawing_claim", "state", "id"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("project.id"), index=True)
    model: Mapped[str] = mapped_column(String(200))
    request: Mapped[dict[str, Any]]
    state: Mapped[DrawingState] = mapped_column(checked(DrawingState))
    attempt: Mapped[int] = mapped_column(default=0)
    fence: Mapped[int] = mapped_column(default=0)
    lease_expires_at: Mapped[datetime | None]
    worker: Mapped[str | None] = mapped_column(String(200))
    result: Mapped[dict[str, Any] | None]
    failure: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
