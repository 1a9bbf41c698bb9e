"""Registered names."""

from datetime import datetime

from sqlalchemy import ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from core.clock import UtcDateTime, utcnow
from core.models.columns import ZERO, Base


class RegisteredModel(Base):
    """A name of a project's own under which models come out as versions 1, 2, ...

    ``versions`` is the last number that was given: one that was deleted is not given again. ``created_by`` is
    the id of a key, here and in the tables below.
    """

    __tablename__ = "registered_model"
    __table_args__ = (UniqueConstraint("project_id", "name"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("project.id"))
    name: Mapped[str]
    description: Mapped[str | None]
    versions: Mapped[int] = mapped_column(default=0, server_default=ZERO)
    created_by: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
