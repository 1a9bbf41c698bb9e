"""Workers that were seen."""

from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

from core.clock import UtcDateTime, database_now
from core.models.columns import Base


class WorkerNode(Base):
    """A worker process and when it was last seen.

    ``unheard_since`` is set while there is work that it could do and no message reaches it.
    """

    __tablename__ = "worker_node"

    name: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    seen_at: Mapped[datetime] = mapped_column(UtcDateTime, default=database_now())
    unheard_since: Mapped[datetime | None] = mapped_column(UtcDateTime)
