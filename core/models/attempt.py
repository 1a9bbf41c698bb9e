"""Attempts at units."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from core.clock import UtcDateTime, utcnow
from core.models.columns import ZERO, Base


class Attempt(Base):
    """One claim of a unit and its end: ``succeeded``, ``preempted``, ``cancelled`` or a reason of failure.

    ``gpus`` is how many its worker had: the project pays for them as long as it took.
    ``counted`` tells how much of it core.tallies has counted: nothing, its beginning (1), its end (2).
    """

    __tablename__ = "attempt"
    __table_args__ = (
        # Those that are still to be counted, and no others: their number does not grow with the history.
        Index(
            "ix_attempt_uncounted",
            "counted",
            "ended_at",
            sqlite_where=text("counted < 2"),
            postgresql_where=text("counted < 2"),
        ),
    )

    unit_id: Mapped[str] = mapped_column(ForeignKey("unit.id"), primary_key=True)
    fence: Mapped[int] = mapped_column(primary_key=True)
    worker: Mapped[str]
    gpus: Mapped[int] = mapped_column(default=0, server_default=ZERO)
    started_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    outcome: Mapped[str | None]
    message: Mapped[str | None]
    counted: Mapped[int] = mapped_column(default=0, server_default="0")
