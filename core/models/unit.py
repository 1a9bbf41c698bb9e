"""Work units."""

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from core.clock import UtcDateTime, utcnow
from core.models.columns import ZERO, Base, Data, Json, checked, first_stands_first, worded
from core.models.states import DEFAULT_QUEUE, Device, UnitKind, UnitState


class Unit(Base):
    """A piece of work that one worker does at a time.

    ``fence`` counts claims; a write that carries an older one is refused. ``attempt`` counts the claims
    that were not given back unharmed; ``failures`` those that failed since the last progress. ``needs`` are
    ids of units. ``pending_at`` is when it last became ready for a worker. ``cleared_at`` is when objects
    that its attempts left without a row were deleted.

    For scheduling: ``project_id`` is its job's or dataset's; ``queue``, ``device`` (cpu: any worker) and
    ``memory_bytes`` are what a worker must have; ``rank`` is minus the priority, so that an index has the
    order of claims. ``avoid`` is a worker that should leave it to others until ``avoid_until``; ``alike``
    counts the last failures that were the same; ``yield_to`` is the job for which it is to stop;
    ``micro_batch`` is the most captions at once, after memory ran out.

    It belongs to a job, to a dataset, or as ``transfer_id`` says to an export or an import of a model.
    """

    __tablename__ = "unit"
    __table_args__ = (
        Index(None, "state", "project_id", "queue", "kind", "rank", "job_id", "position", "id"),
        Index(None, "state", "not_before"),
        Index(None, "state", "lease_expires_at"),
        Index(None, "content_key", "state"),
        Index(None, "cleared_at", "finished_at"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[str | None] = mapped_column(ForeignKey("job.id"), index=True)
    dataset_id: Mapped[str | None] = mapped_column(ForeignKey("dataset.id"), index=True)
    transfer_id: Mapped[str | None] = mapped_column(index=True)
    kind: Mapped[UnitKind] = mapped_column(checked(UnitKind))
    iteration: Mapped[int] = mapped_column(default=0)
    shard: Mapped[int] = mapped_column(default=0)
    shards: Mapped[int] = mapped_column(default=1)
    position: Mapped[int] = mapped_column(default=0)
    priority: Mapped[int] = mapped_column(default=0)
    rank: Mapped[int] = mapped_column(default=first_stands_first, server_default=ZERO)
    project_id: Mapped[str | None]
    queue: Mapped[str] = mapped_column(default=DEFAULT_QUEUE, server_default=DEFAULT_QUEUE)
    device: Mapped[Device] = mapped_column(worded(Device), default=Device.cpu, server_default=Device.cpu)
    memory_bytes: Mapped[int] = mapped_column(BigInteger, default=0, server_default=ZERO)
    state: Mapped[UnitState] = mapped_column(checked(UnitState))
    needs: Mapped[list[str]] = mapped_column(Json, default=list)
    attempt: Mapped[int] = mapped_column(default=0)
    failures: Mapped[int] = mapped_column(default=0)
    alike: Mapped[int] = mapped_column(default=0, server_default=ZERO)
    fence: Mapped[int] = mapped_column(default=0)
    lease_expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    not_before: Mapped[datetime | None] = mapped_column(UtcDateTime)
    worker: Mapped[str | None] = mapped_column(index=True)
    avoid: Mapped[str | None]
    avoid_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    yield_to: Mapped[str | None]
    micro_batch: Mapped[int | None]
    output: Mapped[Data | None] = mapped_column(Json)
    progress: Mapped[Data | None] = mapped_column(Json)
    failure: Mapped[Data | None] = mapped_column(Json)
    content_key: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    pending_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    cleared_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
