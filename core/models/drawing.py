"""Pictures that were asked for."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from core.clock import UtcDateTime, utcnow
from core.models.columns import Base, Data, Json, checked
from core.models.states import DrawingState


class Drawing(Base):
    """A request for pictures, claimed like a unit: with a lease and a fence."""

    __tablename__ = "drawing"
    __table_args__ = (Index(None, "state", "created_at"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("project.id"), index=True)
    model_id: Mapped[str]
    pipeline: Mapped[str]
    weights: Mapped[str | None]
    request: Mapped[Data] = mapped_column(Json)
    state: Mapped[DrawingState] = mapped_column(checked(DrawingState), default=DrawingState.pending)
    attempt: Mapped[int] = mapped_column(default=0)
    fence: Mapped[int] = mapped_column(default=0)
    lease_expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    worker: Mapped[str | None]
    result: Mapped[Data | None] = mapped_column(Json)
    failure: Mapped[Data | None] = mapped_column(Json)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
