"""Models that come from outside."""

from datetime import datetime

from sqlalchemy import Double, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from core.clock import UtcDateTime, utcnow
from core.models.columns import Base, Data, Json, worded
from core.models.states import TransferState
from core.tracing import current_origin


class ModelImport(Base):
    """An uploaded file that is to become a model: a pipeline, or a LoRA for ``base_model_id``.

    ``pipeline`` and ``digest`` are the base model's, as they were when it was asked for. ``alpha`` is of a
    LoRA whose file does not tell it. ``found`` tells what the file turned out to be. ``model_id`` is the
    model's, from the beginning; it is there once the state is ready.
    """

    __tablename__ = "model_import"

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("project.id"), index=True)
    file_id: Mapped[str] = mapped_column(ForeignKey("file.id"), index=True)
    name: Mapped[str]
    base_model_id: Mapped[str | None]
    pipeline: Mapped[str | None]
    digest: Mapped[str | None]
    alpha: Mapped[float | None] = mapped_column(Double)
    licence: Mapped[str | None]
    notes: Mapped[str | None]
    state: Mapped[TransferState] = mapped_column(worded(TransferState), default=TransferState.pending)
    model_id: Mapped[str] = mapped_column(index=True)
    found: Mapped[Data | None] = mapped_column(Json)
    failure: Mapped[Data | None] = mapped_column(Json)
    created_by: Mapped[str | None]
    origin: Mapped[Data | None] = mapped_column(Json, default=current_origin)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
