"""Models written in a form that other programs read."""

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from core.clock import UtcDateTime, utcnow
from core.models.columns import Base, Data, Json, worded
from core.models.states import ExportFormat, TransferState
from core.tracing import current_origin


class ModelExport(Base):
    """A model in a format, made once: ``content_key`` says of which bytes, and how.

    ``card`` is the model card as it goes into the export. ``used_at`` is when it was last asked for; one that
    nobody has asked for in a long time is deleted, and made anew when somebody does.
    """

    __tablename__ = "model_export"
    __table_args__ = (
        Index(None, "project_id", "content_key"),
        Index(None, "project_id", "model_id"),
        Index(None, "used_at"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("project.id"))
    model_id: Mapped[str]
    format: Mapped[ExportFormat] = mapped_column(worded(ExportFormat))
    content_key: Mapped[str]
    pipeline: Mapped[str]
    weights: Mapped[str | None]
    card: Mapped[str]
    state: Mapped[TransferState] = mapped_column(worded(TransferState), default=TransferState.pending)
    filename: Mapped[str]
    key: Mapped[str | None]
    bytes: Mapped[int | None] = mapped_column(BigInteger)
    sha256: Mapped[str | None]
    failure: Mapped[Data | None] = mapped_column(Json)
    created_by: Mapped[str | None]
    origin: Mapped[Data | None] = mapped_column(Json, default=current_origin)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    used_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
