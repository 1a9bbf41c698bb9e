"""Who did what."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from core.clock import UtcDateTime, utcnow
from core.models.columns import Base, worded
from core.models.states import Outcome


class AuditEntry(Base):
    """One change by one key, or one that its scopes did not allow. It holds no body and no query."""

    __tablename__ = "audit_entry"
    __table_args__ = (Index(None, "project_id", "id"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("project.id"))
    key_id: Mapped[str] = mapped_column(ForeignKey("api_key.id"))
    method: Mapped[str]
    route: Mapped[str]
    object_id: Mapped[str | None]
    outcome: Mapped[Outcome] = mapped_column(worded(Outcome))
    request_id: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow, index=True)
