"""Work units."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from core.clock import UtcDateTime, utcnow
from core.models.columns import Base, Data, Json, checked
from core.models.states import UnitKind, UnitState


class Unit(Base):
    """A piece of work that one worker does at a time.

    ``fence`` counts claims; a write that carries an older one is refused. ``attempt`` counts the claims
    that were not given back unharmed; ``failures`` those that failed since the last progress. ``needs`` are
    ids of units. ``pending_at`` is when it last became ready for a worker. ``cleared_at`` is when objects
    that its attempts left without a row were deleted.
    """

    __tablename__ = "unit"
    __table_args__ = (
        Index(None, "state", "not_before"),
        Index(None, "state", "lease_expires_at"),
        Index(None, "content_key", "state"),
        Index(None, "cleared_at", "finished_at"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[str | None] = mapped_column(ForeignKey("job.id"), index=True)
    dataset_id: Mapped[str | None] = mapped_column(ForeignKey("dataset.id"), index=True)
    kind: Mapped[UnitKind] = mapped_column(checked(UnitKind))
    iteration: Mapped[int] = mapped_column(default=0)
    shard: Mapped[int] = mapped_column(default=0)
    shards: Mapped[int] = mapped_column(default=1)
    position: Mapped[int] = mapped_column(default=0)
    priority: Mapped[int] = mapped_column(default=0)
    state: Mapped[UnitState] = mapped_column(checked(UnitState))
    needs: Mapped[list[str]] = mapped_column(Json, default=list)
    attempt: Mapped[int] = mapped_column(default=0)
    failures: Mapped[int] = mapped_column(default=0)
    fence: Mapped[int] = mapped_column(default=0)
    lease_expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    not_before: Mapped[datetime | None] = mapped_column(UtcDateTime)
    worker: Mapped[str | None] = mapped_column(index=True)
    output: Mapped[Data | None] = mapped_column(Json)
    progress: Mapped[Data | None] = mapped_column(Json)
    failure: Mapped[Data | None] = mapped_column(Json)
    content_key: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    pending_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    cleared_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
