"""Aliases of registered names, and where they pointed before."""

from datetime import datetime

from sqlalchemy import Double, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from core.clock import UtcDateTime, utcnow
from core.models.columns import Base, worded
from core.models.states import MoveCause


class ModelAlias(Base):
    """A word that points at a version, and for a share of the requests at another.

    ``version`` is None where the alias was deleted: the row stays, so that its history goes on if it comes
    back. ``moves`` counts the changes; the newest AliasMove has this number.
    """

    __tablename__ = "model_alias"

    registered_id: Mapped[str] = mapped_column(ForeignKey("registered_model.id"), primary_key=True)
    alias: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int | None]
    split_version: Mapped[int | None]
    split_share: Mapped[float | None] = mapped_column(Double)
    moves: Mapped[int]
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)


class AliasMove(Base):
    """One change of an alias: what it pointed at from then on, who did it, and why.

    ``restores`` is the number of the move whose state a rollback brought back.
    """

    __tablename__ = "alias_move"

    registered_id: Mapped[str] = mapped_column(ForeignKey("registered_model.id"), primary_key=True)
    alias: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    version: Mapped[int | None]
    split_version: Mapped[int | None]
    split_share: Mapped[float | None] = mapped_column(Double)
    cause: Mapped[MoveCause] = mapped_column(worded(MoveCause))
    restores: Mapped[int | None]
    created_by: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
