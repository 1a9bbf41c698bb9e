"""Counts that only grow."""

from sqlalchemy import Double
from sqlalchemy.orm import Mapped, mapped_column

from core.models.columns import Base


class Tally(Base):
    """One number of a Prometheus counter. ``labels`` is JSON, its keys in order so that it can be a key."""

    __tablename__ = "tally"

    name: Mapped[str] = mapped_column(primary_key=True)
    labels: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[float] = mapped_column(Double)
