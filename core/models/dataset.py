"""Dataset versions."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from core.models.base import Base, checked


class DatasetState(StrEnum):
    """Where a dataset version stands."""

    VALIDATING = "validating"
    READY = "ready"
    FAILED = "failed"


class Dataset(Base):
    """An immutable, numbered version of a data set, built from one file."""

    __tablename__ = "dataset"
    __table_args__ = (UniqueConstraint("project_id", "name", "version"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("project.id"))
    name: Mapped[str] = mapped_column(String(200))
    version: Mapped[int]
    file_id: Mapped[str] = mapped_column(ForeignKey("file.id"), index=True)
    state: Mapped[DatasetState] = mapped_column(checked(DatasetState))
    rows: Mapped[int | None]
    rejected: Mapped[list[Any]]
    statistics: Mapped[dict[str, Any]]
    sha256: Mapped[str | None] = mapped_column(String(64))
    output: Mapped[dict[str, Any] | None]
    """Manifest of the canonical shards: {"files": {path: {"key", "sha256", "size"}}}."""
    failure: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
