"""Who owns things."""

from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

from core.clock import UtcDateTime, utcnow
from core.models.columns import Base


class Project(Base):
    """The owner of keys, files, datasets, jobs and models; what is another's does not exist."""

    __tablename__ = "project"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
