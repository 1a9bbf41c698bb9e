"""What happened in a job."""

from datetime import datetime

from sqlalchemy import ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from core.clock import UtcDateTime, utcnow
from core.models.columns import Base, Data, Json, checked
from core.models.states import Level


class Event(Base):
    """One thing that happened; ``seq`` counts a job's events from 1 without a gap."""

    __tablename__ = "event"
    __table_args__ = (UniqueConstraint("job_id", "seq"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("job.id"))
    seq: Mapped[int]
    type: Mapped[str]
    level: Mapped[Level] = mapped_column(checked(Level))
    message: Mapped[str]
    data: Mapped[Data | None] = mapped_column(Json)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
