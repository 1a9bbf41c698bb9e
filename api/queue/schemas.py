"""The shape of the queue."""

from typing import Literal, Self

from pydantic import BaseModel, Field

from api.schemas import Input, Timestamp
from api.workers.schemas import UnitAtWork
from core.models import Dataset, Job, JobState
from core.runs.lineup import Line
from core.runs.views import JobDetails


class QueueQuery(Input):
    """The query of the queue."""

    limit: int = Field(20, ge=1, le=100, description="How many at most of each kind that waits.")


class WaitingJob(BaseModel):
    """A job that waits: for a worker, or for its datasets to be validated."""

    id: str
    name: str = Field(description="Its suffix or id.")
    status: JobState
    queue: str
    priority: int
    position: int | None = Field(description="1: it is started next on its queue; null unless it is queued.")
    estimated_start: int | None = Field(description="Unix seconds; null where it cannot be told.")
    waits_for: str | None = Field(description="The worker without which it never ends; null: there is one.")
    created_at: Timestamp

    @classmethod
    def of(cls, job: Job, details: JobDetails) -> Self:
        """Render a row with what was found out about it."""
        return cls(
            id=job.id,
            name=job.suffix or job.id,
            status=job.state,
            queue=job.queue,
            priority=job.priority,
            position=details.queue_position,
            estimated_start=details.starts_at,
            waits_for=details.waits_for,
            created_at=job.created_at,
        )


class WaitingDataset(BaseModel):
    """A dataset that is being validated, or waits for that."""

    id: str
    name: str
    version: int
    created_at: Timestamp

    @classmethod
    def of(cls, dataset: Dataset) -> Self:
        """Render a row."""
        return cls(id=dataset.id, name=dataset.name, version=dataset.version, created_at=dataset.created_at)


class Pictures(BaseModel):
    """Requests for pictures."""

    waiting: int
    running: int


class Others(BaseModel):
    """The work of other projects, as numbers."""

    running: int = Field(description="Units that workers hold.")
    queued: int = Field(description="Jobs that wait for their first worker.")


class QueueObject(BaseModel):
    """What is at work for a project, and what waits. `GET /v1/fine_tuning/jobs` has every job."""

    object: Literal["queue"] = "queue"
    running: list[UnitAtWork] = Field(description="Units that workers hold, the longest at work first.")
    begun: list[WaitingJob] = Field(description="Jobs that have begun, none of whose units is held just now.")
    queued: list[WaitingJob] = Field(description="Jobs that wait for their first worker, the next one first.")
    queued_count: int = Field(description="How many those are in all.")
    validating: list[WaitingJob] = Field(description="Jobs that wait for their datasets.")
    datasets: list[WaitingDataset] = Field(description="Datasets that are not validated yet, oldest first.")
    transfers: list[UnitAtWork] = Field(description="Exports and imports that no worker holds yet.")
    datasets_wait_for: str | None = Field(
        description="The worker without which no dataset is validated; null: there is one."
    )
    pictures: Pictures
    other_projects: Others

    @classmethod
    def of(cls, found: Line) -> Self:
        """Render what was found."""

        def rendered(jobs: list[Job]) -> list[WaitingJob]:
            return [WaitingJob.of(job, found.details[job.id]) for job in jobs]

        return cls(
            running=[UnitAtWork.of(each) for each in found.running],
            begun=rendered(found.begun),
            queued=rendered(found.queued),
            queued_count=found.queued_count,
            validating=rendered(found.validating),
            datasets=[WaitingDataset.of(each) for each in found.datasets],
            transfers=[UnitAtWork.of(each) for each in found.transfers],
            datasets_wait_for=found.dataset_waits_for if found.datasets else None,
            pictures=Pictures(waiting=found.drawings[0], running=found.drawings[1]),
            other_projects=Others(running=found.others[0], queued=found.others[1]),
        )
