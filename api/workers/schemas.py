"""The shape of workers."""

from typing import Any, Literal, Self

from pydantic import BaseModel, Field

from api.schemas import Timestamp
from core.models import Device, UnitKind
from core.runs.lineup import AtWork, Standing, Worker


class UnitAtWork(BaseModel):
    """A unit of the project: a piece of a job, the check of a dataset, an export or an import."""

    id: str
    kind: UnitKind
    job: str | None
    dataset: str | None
    transfer: str | None = Field(description="The export or import that it does.")
    name: str = Field(description="The job's suffix or id, the dataset's name and version, or the model's.")
    iteration: int
    shard: int
    shards: int
    attempt: int
    queue: str
    worker: str | None
    gang: list[str] = Field(
        description="The workers that train it together, its leader first; empty where one does it alone."
    )
    started_at: Timestamp | None
    progress: dict[str, Any] | None = Field(description="`step` of `of`, `seconds_left` where it is told.")

    @classmethod
    def of(cls, found: AtWork) -> Self:
        """Render a row."""
        unit = found.unit
        return cls(
            id=unit.id,
            kind=unit.kind,
            job=unit.job_id,
            dataset=unit.dataset_id,
            transfer=unit.transfer_id,
            name=found.name,
            iteration=unit.iteration,
            shard=unit.shard,
            shards=unit.shards,
            attempt=unit.attempt,
            queue=unit.queue,
            worker=unit.worker,
            gang=list(found.gang),
            started_at=unit.started_at,
            progress=unit.progress,
        )


class WorkerObject(BaseModel):
    """A worker process: what it has, and what it does for this project."""

    id: str = Field(description="Its name.")
    object: Literal["worker"] = "worker"
    role: str = Field(description="`units` does jobs and datasets, `serve` draws, `beat` keeps order.")
    status: Standing = Field(description="`silent`: nothing was heard of it for 20 seconds.")
    kinds: list[UnitKind] | None = Field(description="Of units that it takes; null where it takes none.")
    queues: list[str] | None
    device: Device
    gpus: int
    nodes: int = Field(description="How many such workers train a unit together; 1: each alone.")
    memory_bytes: int | None = Field(description="Of its device; null: not known.")
    seen_at: Timestamp
    unit: UnitAtWork | None = Field(description="What it does, if it is this project's.")

    @classmethod
    def of(cls, found: Worker) -> Self:
        """Render a row."""
        node = found.seen.node
        return cls.model_validate(
            {
                "id": node.name,
                "role": node.kind,
                "status": found.standing,
                "kinds": node.kinds,
                "queues": node.queues,
                "device": node.device,
                "gpus": node.gpus,
                "nodes": node.nodes,
                "memory_bytes": node.memory_bytes,
                "seen_at": node.seen_at,
                "unit": None if found.at_work is None else UnitAtWork.of(found.at_work),
            }
        )
