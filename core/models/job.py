"""Fine-tuning jobs."""

from datetime import datetime

from sqlalchemy import Double, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from core.clock import UtcDateTime, utcnow
from core.models.columns import ZERO, Base, Data, Json, checked, first_stands_first, worded
from core.models.states import DEFAULT_QUEUE, Device, JobState
from core.tracing import current_origin


class Job(Base):
    """A fine-tuning job. ``event_seq`` and ``metric_seq`` count what it has told; SQL alone moves them.

    ``estimate`` is what it was thought to cost, and from its end on under ``actual`` what it did.
    ``origin`` is the request that made it (core.tracing).
    ``pipeline`` and ``weights`` are the sources it starts from (core.sources), resolved when it was made.
    ``queue`` and ``device`` are what its workers must have; ``rank`` is minus the priority. While it is open,
    ``reserved_gpu_seconds`` of its project's are its own.
    """

    __tablename__ = "job"
    __table_args__ = (
        Index(None, "project_id", "id"),
        Index(None, "state", "priority"),
        Index(None, "state", "rank", "id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("project.id"))
    model_id: Mapped[str]
    base_model_id: Mapped[str]
    pipeline: Mapped[str]
    pipeline_digest: Mapped[str]
    weights: Mapped[str | None]
    dataset_id: Mapped[str] = mapped_column(ForeignKey("dataset.id"), index=True)
    validation_dataset_id: Mapped[str | None] = mapped_column(ForeignKey("dataset.id"), index=True)
    method: Mapped[Data] = mapped_column(Json)
    seed: Mapped[int]
    suffix: Mapped[str | None]
    metadata_: Mapped[Data | None] = mapped_column("metadata", Json)
    retention: Mapped[Data | None] = mapped_column(Json)
    priority: Mapped[int] = mapped_column(default=0)
    rank: Mapped[int] = mapped_column(default=first_stands_first, server_default=ZERO)
    queue: Mapped[str] = mapped_column(default=DEFAULT_QUEUE, server_default=DEFAULT_QUEUE)
    device: Mapped[Device] = mapped_column(worded(Device), default=Device.cpu, server_default=Device.cpu)
    reserved_gpu_seconds: Mapped[float | None] = mapped_column(Double)
    state: Mapped[JobState] = mapped_column(checked(JobState))
    pause_requested: Mapped[bool] = mapped_column(default=False)
    cancel_requested: Mapped[bool] = mapped_column(default=False)
    failure: Mapped[Data | None] = mapped_column(Json)
    estimate: Mapped[Data | None] = mapped_column(Json)
    content_key: Mapped[str | None]
    origin: Mapped[Data | None] = mapped_column(Json, default=current_origin)
    result_model_id: Mapped[str | None]
    event_seq: Mapped[int] = mapped_column(default=0)
    metric_seq: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
