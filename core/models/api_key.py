"""Keys to the API."""

from datetime import datetime

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from core.clock import UtcDateTime, utcnow
from core.models.columns import Base, Json


class ApiKey(Base):
    """A key: only the sha256 of its secret is kept, which has 256 bits of chance and needs no slow hash.

    ``prefix`` is how its secret begins, by which it is found and recognised; keys of before have none.
    """

    __tablename__ = "api_key"

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("project.id"), index=True)
    name: Mapped[str]
    prefix: Mapped[str | None] = mapped_column(index=True)
    sha256: Mapped[str] = mapped_column(unique=True)
    scopes: Mapped[list[str]] = mapped_column(Json)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class FormerSecret(Base):
    """A secret that a key had before it was rotated. The row stays: it must not become a key again."""

    __tablename__ = "former_secret"

    sha256: Mapped[str] = mapped_column(primary_key=True)
    key_id: Mapped[str] = mapped_column(ForeignKey("api_key.id"), index=True)
    prefix: Mapped[str | None] = mapped_column(index=True)
    good_until: Mapped[datetime] = mapped_column(UtcDateTime)
