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
    export = "export"
    import_ = "import"


class SeatState(StrEnum):
    """Where a seat of a gang stands; ``taken`` while its worker fetches inputs, ``ready`` to start.

    ``done``: its processes ended well; ``stopped``: at a checkpoint, because its worker was asked to.
    """

    open = "open"
    taken = "taken"
    ready = "ready"
    done = "done"
    stopped = "stopped"
    failed = "failed"


class Device(StrEnum):
    """What a worker computes on, and what a unit needs; every worker has a cpu."""

    cpu = "cpu"
    gpu = "gpu"


class DatasetState(StrEnum):
    """Where a dataset stands."""

    validating = "validating"
    ready = "ready"
    failed = "failed"


class UploadState(StrEnum):
    """Where an upload stands; ``completing`` while its parts become a file."""

    pending = "pending"
    completing = "completing"
    completed = "completed"
    cancelled = "cancelled"
    expired = "expired"


class DrawingState(StrEnum):
    """Where a request for pictures stands."""

    pending = "pending"
    running = "running"
    succeeded = "succeeded"
    failed = "failed"
    cancelled = "cancelled"


class ComparisonState(StrEnum):
    """Where a comparison stands; votes may be cast from its first pair on."""

    drawing = "drawing"
    ready = "ready"
    failed = "failed"


class PictureState(StrEnum):
    """Where the pictures of a model and prompt stand; ``waiting`` until they are asked for."""

    waiting = "waiting"
    asked = "asked"
    drawn = "drawn"
    failed = "failed"


class Choice(StrEnum):
    """What a voter says of two pictures."""

    left = "left"
    right = "right"
    tie = "tie"


class DeliveryState(StrEnum):
    """Where an event that an endpoint is owed stands."""

    pending = "pending"
    succeeded = "succeeded"
    failed = "failed"


class ModelKind(StrEnum):
    """What a model is; checkpoints have no row of their own among the models."""

    base = "base"
    result = "result"
    checkpoint = "checkpoint"
    imported = "imported"


class ExportFormat(StrEnum):
    """In what form a model is written for other programs."""

    diffusers = "diffusers"
    lora = "lora"
    comfyui = "comfyui"
    a1111 = "a1111"


class TransferState(StrEnum):
    """Where an export or an import of a model stands."""

    pending = "pending"
    ready = "ready"
    failed = "failed"


class MoveCause(StrEnum):
    """Why an alias points where it does."""

    set = "set"
    rollback = "rollback"
    delete = "delete"


class Outcome(StrEnum):
    """What became of what a key asked for: ``done``, or ``denied`` because its scopes do not allow it."""

    done = "done"
    denied = "denied"


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
    disk_full = "disk_full"
    worker_lost = "worker_lost"
    preempted = "preempted"
    timeout = "timeout"
    internal = "internal"


DEFAULT_QUEUE = "default"
JOB_ENDED = (JobState.succeeded, JobState.failed, JobState.cancelled)
JOB_ACTIVE = (JobState.queued, JobState.running)
DRAWING_ENDED = (DrawingState.succeeded, DrawingState.failed, DrawingState.cancelled)
UNIT_ENDED = (UnitState.succeeded, UnitState.failed, UnitState.cancelled)
