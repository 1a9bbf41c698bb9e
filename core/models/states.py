"""The words a column may hold."""

from enum import StrEnum


class JobState(StrEnum):
    """Where a job stands."""

    validating_files = "validating_files"
    queued = "queued"
    running = "running"
    paused = "paused"
    succeeded = "succeeded"
    failed = "failed"
    cancelled = "cancelled"


class UnitState(StrEnum):
    """Where a unit stands; ``waiting`` for others, ``pending`` for a worker."""

    waiting = "waiting"
    pending = "pending"
    running = "running"
    succeeded = "succeeded"
    failed = "failed"
    cancelled = "cancelled"


class UnitKind(StrEnum):
    """What a unit does."""

    ingest = "ingest"
    encode = "encode"  # type: ignore[assignment]  # hides str.encode, which no one asks of a kind
    generate = "generate"
    train = "train"
    evaluate = "evaluate"
    publish = "publish"


class Device(StrEnum):
    """What a worker computes on, and what a unit needs; every worker has a cpu."""

    cpu = "cpu"
    gpu = "gpu"


class DatasetState(StrEnum):
    """Where a dataset stands."""

    validating = "validating"
    ready = "ready"
    failed = "failed"


class DrawingState(StrEnum):
    """Where a request for pictures stands."""

    pending = "pending"
    running = "running"
    succeeded = "succeeded"
    failed = "failed"


class ModelKind(StrEnum):
    """What a model is; checkpoints have no row of their own among the models."""

    base = "base"
    result = "result"
    checkpoint = "checkpoint"


class Level(StrEnum):
    """How grave an event is."""

    info = "info"
    warn = "warn"
    error = "error"


class Reason(StrEnum):
    """Why an attempt came to nothing; core.runs.retries says what follows from each."""

    user_error = "user_error"
    out_of_memory = "out_of_memory"
    device_lost = "device_lost"
    worker_lost = "worker_lost"
    preempted = "preempted"
    timeout = "timeout"
    internal = "internal"


DEFAULT_QUEUE = "default"
JOB_ENDED = (JobState.succeeded, JobState.failed, JobState.cancelled)
JOB_ACTIVE = (JobState.queued, JobState.running)
UNIT_ENDED = (UnitState.succeeded, UnitState.failed, UnitState.cancelled)
