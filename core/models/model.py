"""Models that can be fine-tuned and drawn with."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from core.models.base import Base, checked


class ModelKind(StrEnum):
    """Where a model comes from."""

    BASE = "base"
    RESULT = "result"


class Model(Base):
    """A base model (a folder, open to every project) or a published result (stored files, of one project)."""

    __tablename__ = "model"

    id: Mapped[str] = mapped_column(String(200), primary_key=True)
    project_id: Mapped[str | None] = mapped_column(ForeignKey("project.id"), index=True)
    kind: Mapped[ModelKind] = mapped_column(checked(ModelKind))
    folder: Mapped[str | None] = mapped_column(String(1000))
    """Of a base model: the pipeline's folder, used in place."""
    output: Mapped[dict[str, Any] | None]
    """Of a result: manifest of its files, {"files": {path: {"key", "sha256", "size"}}}."""
    base_model_id: Mapped[str | None] = mapped_column(ForeignKey("model.id"))
    job_id: Mapped[str | None] = mapped_column(String(40), index=True)
    defaults: Mapped[dict[str, Any]]
    """Recommended hyperparameters by method type."""
    identity: Mapped[str] = mapped_column(String(64))
    """SHA-256 over the files' hashes: what the model is, wherever it lies."""
    created_at: Mapped[datetime]
