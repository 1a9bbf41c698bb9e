"""What the API answers, as frozen types. Fields that this version does not know are kept, not refused."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


class Result(BaseModel):
    """The base of every answer: frozen, and open to fields that a newer server adds."""

    model_config = ConfigDict(frozen=True, extra="allow")


class File(Result):
    """Bytes that were uploaded."""

    id: str
    filename: str
    bytes: int
    created_at: int
    purpose: str = "fine-tune"
    sha256: str | None = None


class Upload(Result):
    """A file that goes up in parts."""

    id: str
    status: str
    bytes: int
    filename: str = ""
    created_at: int = 0
    expires_at: int = 0
    received_bytes: int = 0
    file: File | None = None


class UploadPart(Result):
    """A part of an upload, known by its bytes."""

    id: str
    upload_id: str = ""
    bytes: int = 0
    sha256: str | None = None
    received: bool = True


class Rejected(Result):
    """A row that did not make it into a dataset, and why."""

    file: str = ""
    row: int | None = None
    reason: str = ""


class Dataset(Result):
    """A numbered, immutable version of pictures with captions."""

    id: str
    name: str
    version: int = 1
    status: str
    created_at: int
    rows: int | None = None
    rejected: tuple[Rejected, ...] = ()
    statistics: dict[str, Any] | None = None
    failure: dict[str, Any] | str | None = None

    @property
    def finished(self) -> bool:
        """Whether its rows have been checked, for good or bad."""
        return self.status in {"ready", "failed"}

    @property
    def failure_message(self) -> str:
        """Why it cannot be used; empty where it can."""
        if isinstance(self.failure, dict):
            return str(self.failure.get("message") or self.failure)
        return self.failure or ""


class Overlap(Result):
    """What two datasets share, in rows of the first: the same pictures, and others that look alike."""

    dataset: str
    other: str
    rows: int
    identical: int
    alike: int
    examples: tuple[dict[str, Any], ...] = ()


class DatasetRow(Result):
    """One picture with its caption."""

    index: int
    caption: str


class Failure(Result):
    """Why a job did not succeed."""

    reason: str = ""
    message: str = ""


class Method(Result):
    """How a job trains: ``type``, and under that name ``hyperparameters``."""

    type: str

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """The hyperparameters, resolved: nothing says ``"auto"``."""
        body = (self.model_extra or {}).get(self.type) or {}
        return dict(body.get("hyperparameters") or {})


class Job(Result):
    """A fine-tuning job."""

    id: str
    model: str
    status: str
    created_at: int
    started_at: int | None = None
    finished_at: int | None = None
    fine_tuned_model: str | None = None
    training_file: str | None = None
    validation_file: str | None = None
    priority: int = 0
    queue: str = "default"
    retention: dict[str, Any] | None = None
    method: Method
    seed: int | None = None
    queue_position: int | None = None
    estimated_start: int | None = None
    waits_for: str | None = None
    pause_requested: bool = False
    cancel_requested: bool = False
    failure: Failure | None = None
    iterations: tuple[dict[str, Any], ...] = ()
    attempts: tuple[dict[str, Any], ...] = ()
    estimate: dict[str, Any] | None = None
    progress: float = 0.0

    @property
    def finished(self) -> bool:
        """Whether the job has come to its end, good or bad."""
        return self.status in {"succeeded", "failed", "cancelled"}


class Event(Result):
    """Something that happened in a job."""

    id: str
    created_at: int
    type: str = "message"
    level: str = "info"
    message: str = ""
    data: dict[str, Any] | None = None


class Metric(Result):
    """One measured number."""

    iteration: int
    step: int
    name: str
    value: float | None


class Checkpoint(Result):
    """A saved state of the weights; its id is a model name."""

    id: str
    created_at: int
    step_number: int
    iteration: int = 1
    fine_tuned_model_checkpoint: str = ""
    metrics: dict[str, Any] | None = None


class Model(Result):
    """A model that can draw and be fine-tuned."""

    id: str
    created: int = 0
    owned_by: str = ""
    kind: str = ""


class Key(Result):
    """An API key; ``key`` itself is told only once, when it is made."""

    id: str
    name: str = ""
    key: str | None = None
    prefix: str | None = None
    scopes: tuple[str, ...] = ()
    created_at: int = 0
    expires_at: int | None = None
    last_used_at: int | None = None
    revoked_at: int | None = None


class AuditEntry(Result):
    """What a key changed, or was not allowed to."""

    id: str
    created_at: int
    key_id: str = ""
    method: str = ""
    route: str = ""
    object_id: str | None = None
    outcome: str = ""
    request_id: str | None = None


class Sample(Result):
    """A preview picture; ``url`` is good for an hour."""

    iteration: int
    index: int
    prompt: str = ""
    seed: int = 0
    url: str = ""


class LineageNode(Result):
    """One thing of a lineage; ``type`` says what it is."""

    id: str
    type: str = ""
    label: str = ""


class LineageStep(Result):
    """A step on the way to a model; ``type`` says what it is."""

    type: str
    id: str = ""


class Lineage(Result):
    """Where a model comes from, the newest step first; and as a graph also what came of it."""

    id: str
    data: tuple[LineageStep, ...] = ()
    nodes: tuple[LineageNode, ...] = ()
    edges: tuple[tuple[str, str], ...] = ()
    left_out: int = 0


class Project(Result):
    """The owner of keys, data, jobs and models; a limit that is None does not exist."""

    id: str
    name: str = ""
    max_running: int | None = None
    max_jobs: int | None = None
    open_jobs: int = 0
    gpu_seconds_limit: float | None = None
    gpu_seconds_reserved: float = 0.0
    gpu_seconds_used: float = 0.0
    max_bytes: int | None = None
    stored_bytes: int = 0


class Deleted(Result):
    """The receipt of a deletion."""

    id: str
    deleted: Literal[True] = True
