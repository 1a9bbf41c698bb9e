"""What the API answers about workers and the queue."""

from typing import Any

from pydantic import Field

from spindle.results import Result


class UnitAtWork(Result):
    """A unit of the project that a worker holds; ``name`` tells what it is of."""

    id: str
    kind: str = ""
    job: str | None = None
    dataset: str | None = None
    transfer: str | None = None
    name: str = ""
    iteration: int = 0
    shard: int = 0
    shards: int = 1
    attempt: int = 1
    worker: str | None = None
    gang: tuple[str, ...] = ()
    started_at: int | None = None
    progress: dict[str, Any] | None = None


class Worker(Result):
    """A worker process; ``unit`` is what it does, if that is this project's."""

    id: str
    role: str = ""
    status: str = ""
    kinds: tuple[str, ...] | None = None
    queues: tuple[str, ...] | None = None
    device: str = "cpu"
    gpus: int = 0
    nodes: int = 1
    memory_bytes: int | None = None
    seen_at: int = 0
    unit: UnitAtWork | None = None


class WaitingJob(Result):
    """A job that waits: for a worker, or for its datasets."""

    id: str
    name: str = ""
    status: str = ""
    queue: str = "default"
    priority: int = 0
    position: int | None = None
    estimated_start: int | None = None
    waits_for: str | None = None


class WaitingDataset(Result):
    """A dataset that is not validated yet."""

    id: str
    name: str = ""
    version: int = 1


class Queue(Result):
    """What is at work for the project, and what waits; of other projects there are numbers."""

    running: tuple[UnitAtWork, ...] = ()
    begun: tuple[WaitingJob, ...] = ()
    queued: tuple[WaitingJob, ...] = ()
    queued_count: int = 0
    validating: tuple[WaitingJob, ...] = ()
    datasets: tuple[WaitingDataset, ...] = ()
    transfers: tuple[UnitAtWork, ...] = ()
    datasets_wait_for: str | None = None
    pictures: dict[str, int] = Field(default_factory=dict)
    other_projects: dict[str, int] = Field(default_factory=dict)
