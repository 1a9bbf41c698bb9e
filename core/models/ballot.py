"""Questions that were put to voters, and what they said."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from core.clock import UtcDateTime, utcnow
from core.models.columns import Base, worded
from core.models.states import Choice

CAST = text("choice IS NOT NULL")


class Ballot(Base):
    """Two pictures of one prompt and seed, side by side; with a ``choice`` it is a vote.

    ``first`` and ``second`` are places of models, the lower first; ``swapped`` puts the second on the left.
    ``winner`` is the place that the choice stands for, None for a tie. ``vote_id`` sorts votes by when they
    were cast.
    """

    __tablename__ = "ballot"
    __table_args__ = (
        Index(None, "comparison_id", "voter"),
        Index(None, "comparison_id", "vote_id", unique=True),
        Index(
            "uq_ballot_once_a_voter",
            *("comparison_id", "voter", "prompt", "seed", "first", "second"),
            unique=True,
            sqlite_where=CAST,
            postgresql_where=CAST,
        ),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    comparison_id: Mapped[str] = mapped_column(ForeignKey("comparison.id"))
    prompt: Mapped[int]
    seed: Mapped[int]
    first: Mapped[int]
    second: Mapped[int]
    swapped: Mapped[bool]
    voter: Mapped[str]
    choice: Mapped[Choice | None] = mapped_column(worded(Choice))
    winner: Mapped[int | None]
    vote_id: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    voted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
