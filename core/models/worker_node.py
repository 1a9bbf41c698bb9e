"""Workers that were seen."""

from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

from core.clock import UtcDateTime, database_now
from core.models.columns import Base


class WorkerNode(Base):
    """A worker process and when it was last seen."""

    __tablename__ = "worker_node"

    name: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    seen_at: Mapped[datetime] = mapped_column(UtcDateTime, default=database_now())
