"""Seats of gangs: workers that train one unit together."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from core.clock import UtcDateTime
from core.models.columns import Base, Data, Json, checked
from core.models.states import SeatState


class GangSeat(Base):
    """One of the ``nodes`` seats of the gang that a claim of a unit opened: seat 0 is the claimer's.

    A seat means something only while its unit runs under this ``fence``. ``turn`` counts who took it: a
    write that carries an older one is refused. ``began_at`` is when the gang was opened, ``opened_at`` when
    this seat was last. ``met_at`` is when all seats were ready: from then on a worker that is lost takes the
    gang with it. ``address`` and ``port``, of seat 0, are where the processes meet; ``processes`` and
    ``gpus`` are what each worker brings.
    """

    __tablename__ = "gang_seat"
    __table_args__ = (Index(None, "state", "nodes"), Index(None, "worker"))

    unit_id: Mapped[str] = mapped_column(ForeignKey("unit.id"), primary_key=True)
    fence: Mapped[int] = mapped_column(primary_key=True)
    rank: Mapped[int] = mapped_column(primary_key=True)
    nodes: Mapped[int]
    state: Mapped[SeatState] = mapped_column(checked(SeatState))
    turn: Mapped[int] = mapped_column(default=0)
    worker: Mapped[str | None]
    lease_expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    address: Mapped[str | None]
    port: Mapped[int | None]
    processes: Mapped[int] = mapped_column(default=0)
    gpus: Mapped[int] = mapped_column(default=0)
    failure: Mapped[Data | None] = mapped_column(Json)
    began_at: Mapped[datetime] = mapped_column(UtcDateTime)
    opened_at: Mapped[datetime] = mapped_column(UtcDateTime)
    met_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
