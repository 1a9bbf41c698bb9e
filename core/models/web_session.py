"""Sign-ins of people."""

from datetime import datetime

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from core.clock import UtcDateTime, utcnow
from core.models.columns import Base


class WebSession(Base):
    """A browser that signed in with a key. Only the sha256 of its token is kept, as of a key's secret.

    ``secret_sha256`` is of the secret it signed in with: when that is rotated away, the session ends too.
    """

    __tablename__ = "web_session"

    sha256: Mapped[str] = mapped_column(primary_key=True)
    key_id: Mapped[str] = mapped_column(ForeignKey("api_key.id"), index=True)
    secret_sha256: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
