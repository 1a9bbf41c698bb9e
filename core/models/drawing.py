"""Pictures that were asked for."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from core.clock import UtcDateTime, utcnow
from core.models.columns import Base, Data, Json, checked
from core.models.states import DrawingState
from core.tracing import current_origin


class Drawing(Base):
    """A request for pictures, claimed like a unit: with a lease and a fence.

    ``pipeline`` and ``weights`` are sources (core.sources); ``alias`` is the name that stood for the model.
    Drawings of one ``batch_key`` can be drawn together, ``pictures`` in all. Nobody waits for one in
    the ``background``; one that is ``kept`` is not purged. ``partials`` are pictures on their way: of which
    picture, the how manieth, and the object's key. ``counted`` says that it is among the tallies.
    ``origin`` is the HTTP request that made it (core.tracing).
    """

    __tablename__ = "drawing"
    __table_args__ = (
        Index(None, "state", "background", "created_at"),
        Index(None, "project_id", "id"),
        Index(None, "finished_at"),
        Index(None, "counted", "finished_at"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("project.id"))
    model_id: Mapped[str]
    alias: Mapped[str | None]
    pipeline: Mapped[str]
    weights: Mapped[str | None]
    request: Mapped[Data] = mapped_column(Json)
    batch_key: Mapped[str] = mapped_column(default="", server_default=text("''"))
    pictures: Mapped[int] = mapped_column(default=1, server_default=text("1"))
    background: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    kept: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    state: Mapped[DrawingState] = mapped_column(checked(DrawingState), default=DrawingState.pending)
    attempt: Mapped[int] = mapped_column(default=0)
    fence: Mapped[int] = mapped_column(default=0)
    lease_expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    worker: Mapped[str | None]
    partials: Mapped[list[dict[str, Any]] | None] = mapped_column(Json)
    result: Mapped[Data | None] = mapped_column(Json)
    failure: Mapped[Data | None] = mapped_column(Json)
    origin: Mapped[Data | None] = mapped_column(Json, default=current_origin)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    claimed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    deadline_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    counted: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
