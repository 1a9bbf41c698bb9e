"""The shape of jobs and of what they leave behind: OpenAI's fields first, ours after them."""

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.config import JsonDict

from api.schemas import Input, Listing, Metadata, Timestamp
from core.models import DEFAULT_QUEUE, Checkpoint, Event, Job, JobState, Metric
from core.runs.retention import Retention
from core.runs.views import JobDetails
from spin_engine.config import METHODS

Status = Literal["validating_files", "queued", "running", "paused", "succeeded", "failed", "cancelled"]
METHOD_EXAMPLE: JsonDict = {
    "type": "spin",
    "spin": {"hyperparameters": {"n_iterations": 2, "learning_rate": "auto"}},
}


class JobCreate(Input):
    """What makes a job. ``{model, training_file, method: {"type": "spin"}}`` is enough."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "model": "starter",
                    "training_file": "ds-01k9v3m5x7q8r2s4t6w8y0z1ab",
                    "method": METHOD_EXAMPLE,
                    "suffix": "portraits",
                }
            ]
        }
    )

    model: str = Field(
        min_length=1,
        max_length=200,
        description="A base model, a result, an import, a checkpoint's id, or a registered name.",
    )
    training_file: str = Field(min_length=1, max_length=200, description="Id of a dataset, or of a file.")
    validation_file: str | None = Field(
        None,
        max_length=200,
        description="The same, held out: measured after each iteration, never trained on.",
    )
    method: dict[str, Any] = Field(
        description='`{"type": T, T: {"hyperparameters": {...}}}` with T one of '
        f'{", ".join(f"`{name}`" for name in METHODS)}. What is left out, or `"auto"`, is the base model\'s '
        "recommendation.",
        examples=[METHOD_EXAMPLE],
    )
    suffix: str | None = Field(
        None,
        min_length=1,
        max_length=64,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        description="Becomes a part of the result's name.",
    )
    seed: int | None = Field(
        None, ge=0, lt=2**31, strict=True, description="Drawn when left out; the job always tells it."
    )
    metadata: Metadata | None = None
    priority: int = Field(
        0,
        ge=-100,
        le=100,
        strict=True,
        description="Higher goes first; a lower one's training may stop at a checkpoint for it.",
    )
    queue: str = Field(
        DEFAULT_QUEUE,
        pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$",
        description="Whose workers run it (`python -m worker units --queues`).",
    )
    device: Literal["auto", "cpu", "gpu"] = Field(
        "auto", description="What its workers need; `auto`: a GPU if the base model is large."
    )
    retention: Retention | None = Field(
        None, description="Which checkpoints stay; left out: as the platform is set, by default all."
    )


class JobListing(Listing):
    """The query of the list of jobs; ``metadata[KEY]=VALUE`` keeps the jobs that carry it."""

    model_config = ConfigDict(extra="allow")

    status: str | None = Field(
        None,
        max_length=100,
        pattern=rf"^({'|'.join(JobState)})(,({'|'.join(JobState)}))*$",
        description="Only jobs that stand so; several with commas between: `queued,running`.",
        examples=["running"],
    )

    @model_validator(mode="before")
    @classmethod
    def _only_metadata(cls, data: Any) -> Any:
        for name in data:
            if name not in cls.model_fields and not (name.startswith("metadata[") and name.endswith("]")):
                raise ValueError(
                    f"{name}: unknown query parameter; there are limit, after, status and metadata[KEY]"
                )
        return data

    @property
    def states(self) -> list[JobState]:
        """In which states; none: in any."""
        return [JobState(word) for word in self.status.split(",")] if self.status else []

    @property
    def metadata(self) -> dict[str, str]:
        """What the jobs must carry."""
        extra = self.model_extra or {}
        return {name.removeprefix("metadata[").removesuffix("]"): str(value) for name, value in extra.items()}


class JobError(BaseModel):
    """Why a job failed, in OpenAI's words."""

    code: str
    message: str
    param: str | None = None


class JobObject(BaseModel):
    """A fine-tuning job as it stands."""

    id: str
    object: Literal["fine_tuning.job"] = "fine_tuning.job"
    created_at: Timestamp
    started_at: Timestamp | None
    finished_at: Timestamp | None
    estimated_finish: int | None
    model: str
    fine_tuned_model: str | None
    organization_id: str
    result_files: list[str] = []
    training_file: str
    validation_file: str | None
    status: Status
    error: JobError | None
    hyperparameters: dict[str, Any]
    method: dict[str, Any]
    seed: int
    suffix: str | None
    trained_tokens: None = None
    integrations: list[Any] = []
    metadata: dict[str, str] | None
    priority: int
    queue: str
    device: Literal["cpu", "gpu"]
    retention: Retention | None
    pause_requested: bool
    cancel_requested: bool
    queue_position: int | None = Field(description="1 for the job that is started next on its queue.")
    estimated_start: int | None = Field(
        description="Unix seconds, while it is queued and the time of the jobs ahead is known."
    )
    waits_for: str | None = Field(
        description="The worker that is missing, such as `a worker with a GPU of 24 GB on queue big`."
    )
    failure: dict[str, Any] | None
    estimate: dict[str, Any] | None = Field(
        description="From the start on `disk_bytes` and `memory_bytes_at_least` (activations come on top); "
        "then `seconds`, the first estimate of the whole time; while it runs `seconds_left` and `finish`; "
        "from its end on `actual` {seconds, disk_bytes, memory_bytes}. What is not known is left out."
    )
    progress: float = Field(description="How much of the work is done, from 0 to 1.")
    iterations: list[dict[str, Any]]
    attempts: list[dict[str, Any]]

    @classmethod
    def of(cls, job: Job, details: JobDetails) -> Self:
        """Render a row and what was found out about it."""
        failure = job.failure
        return cls.model_validate(
            {
                "id": job.id,
                "created_at": job.created_at,
                "started_at": job.started_at,
                "finished_at": job.finished_at,
                "estimated_finish": (details.estimate or {}).get("finish"),
                "model": job.model_id,
                "fine_tuned_model": job.result_model_id,
                "organization_id": job.project_id,
                "training_file": job.dataset_id,
                "validation_file": job.validation_dataset_id,
                "status": job.state,
                "error": failure and {"code": failure["reason"], "message": failure["message"]},
                "hyperparameters": job.method[job.method["type"]]["hyperparameters"],
                "method": job.method,
                "seed": job.seed,
                "suffix": job.suffix,
                "metadata": job.metadata_,
                "priority": job.priority,
                "queue": job.queue,
                "device": job.device,
                "retention": job.retention,
                "pause_requested": job.pause_requested,
                "cancel_requested": job.cancel_requested,
                "queue_position": details.queue_position,
                "estimated_start": details.starts_at,
                "waits_for": details.waits_for,
                "failure": failure,
                "estimate": details.estimate,
                "progress": round(details.progress, 4),
                "iterations": details.iterations,
                "attempts": details.attempts,
            }
        )


class EventListing(Listing):
    """The query of a job's events: a page, newest first, or all of them as they happen, oldest first."""

    stream: bool = Field(
        default=False, description="Server-sent events until the job ends; resume with Last-Event-ID."
    )

    @model_validator(mode="after")
    def _a_stream_has_no_pages(self) -> Self:
        if self.stream and "limit" in self.model_fields_set:
            raise ValueError("limit is for pages: leave it out with stream=true")
        return self


class EventObject(BaseModel):
    """Something that happened in a job; ``seq`` counts a job's events from 1."""

    id: str
    object: Literal["fine_tuning.job.event"] = "fine_tuning.job.event"
    created_at: Timestamp
    level: Literal["info", "warn", "error"]
    message: str
    type: str
    data: dict[str, Any] | None
    seq: int

    @classmethod
    def of(cls, event: Event) -> Self:
        """Render a row."""
        return cls.model_validate(
            {
                "id": event.id,
                "created_at": event.created_at,
                "level": event.level,
                "message": event.message,
                "type": event.type,
                "data": event.data,
                "seq": event.seq,
            }
        )


class MetricListing(Input):
    """The query of a job's numbers, which are listed in the order in which they were measured."""

    names: str | None = Field(
        None,
        max_length=1000,
        description="Only these, with commas between: `loss,eval/style`.",
        examples=["loss"],
    )
    limit: int = Field(1000, ge=1, le=10_000)
    after: int | None = Field(
        None, ge=0, lt=2**31, description="Continue after this `seq`: the last one received."
    )


class MetricObject(BaseModel):
    """One measured number."""

    object: Literal["fine_tuning.job.metric"] = "fine_tuning.job.metric"
    seq: int
    name: str
    iteration: int
    step: int
    value: float

    @classmethod
    def of(cls, metric: Metric) -> Self:
        """Render a row."""
        return cls(
            seq=metric.seq,
            name=metric.name,
            iteration=metric.iteration,
            step=metric.step,
            value=metric.value,
        )


class SampleListing(Input):
    """The query of a job's preview pictures, by iteration and then prompt."""

    iteration: int | None = Field(
        None, ge=-1, lt=2**31, description="Only this iteration; -1 is the base model."
    )


class SampleObject(BaseModel):
    """One preview: the same prompt and seed after each iteration. ``url`` is good for an hour."""

    object: Literal["fine_tuning.job.sample"] = "fine_tuning.job.sample"
    iteration: int
    index: int
    prompt: str
    seed: int
    url: str


class CheckpointObject(BaseModel):
    """A saved state of the weights; its id is a model name."""

    id: str
    object: Literal["fine_tuning.job.checkpoint"] = "fine_tuning.job.checkpoint"
    created_at: Timestamp
    fine_tuning_job_id: str
    fine_tuned_model_checkpoint: str
    iteration: int
    step_number: int
    metrics: dict[str, float | None]

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> Self:
        """Render a row."""
        metrics = dict(checkpoint.metrics or {})
        return cls(
            id=checkpoint.id,
            created_at=checkpoint.created_at,
            fine_tuning_job_id=checkpoint.job_id,
            fine_tuned_model_checkpoint=checkpoint.id,
            iteration=checkpoint.iteration,
            step_number=checkpoint.step,
            metrics={"step": checkpoint.step, "train_loss": metrics.get("loss")} | metrics,
        )
