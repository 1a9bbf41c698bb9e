"""Workers that were seen."""

from datetime import datetime

from sqlalchemy import BigInteger
from sqlalchemy.orm import Mapped, mapped_column

from core.clock import UtcDateTime, database_now
from core.models.columns import ONE, ZERO, Base, Json, worded
from core.models.states import Device


class WorkerNode(Base):
    """A worker process, when it was last seen, and what it has.

    ``kinds`` of units and ``queues`` are what it serves; both are empty for workers that run no units.
    ``nodes`` is how many such workers train a unit together: 1, each alone.
    ``memory_bytes`` is its device's; None: not known, and taken to be enough.
    ``unheard_since`` is set while there is work that it could do and no message reaches it.
    """

    __tablename__ = "worker_node"

    name: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    kinds: Mapped[list[str] | None] = mapped_column(Json)
    queues: Mapped[list[str] | None] = mapped_column(Json)
    device: Mapped[Device] = mapped_column(worded(Device), default=Device.cpu, server_default=Device.cpu)
    gpus: Mapped[int] = mapped_column(default=0, server_default=ZERO)
    nodes: Mapped[int] = mapped_column(default=1, server_default=ONE)
    memory_bytes: Mapped[int | None] = mapped_column(BigInteger)
    seen_at: Mapped[datetime] = mapped_column(UtcDateTime, default=database_now())
    unheard_since: Mapped[datetime | None] = mapped_column(UtcDateTime)
