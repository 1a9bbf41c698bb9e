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
    def failure_message(self) -> str:
        """Why it cannot be used; empty where it can."""
        if isinstance(self.failure, dict):
            return str(self.failure.get("message") or self.failure)
        return self.failure or ""


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


class Picture(Result):
    """A drawn picture, in base64 or at an address."""

    b64_json: str | None = None
    url: str | None = None
    seed: int | None = None


class Key(Result):
    """An API key; ``key`` itself is told only once, when it is made."""

    id: str
    name: str = ""
    key: str | None = None
    created_at: int = 0


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


class Deleted(Result):
    """The receipt of a deletion."""

    id: str
    deleted: Literal[True] = True
