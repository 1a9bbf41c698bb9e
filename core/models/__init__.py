"""The tables, one a file; importing this package knows them all."""

from core.models.api_key import ApiKey
from core.models.attempt import Attempt
from core.models.checkpoint import Checkpoint
from core.models.columns import Base
from core.models.dataset import Dataset
from core.models.drawing import Drawing
from core.models.event import Event
from core.models.file import File
from core.models.idempotency import Idempotency
from core.models.job import Job
from core.models.metric import Metric
from core.models.model import Model
from core.models.outbox import Outbox
from core.models.project import Project
from core.models.sample import Sample
from core.models.states import (
    DEFAULT_QUEUE,
    JOB_ACTIVE,
    JOB_ENDED,
    UNIT_ENDED,
    DatasetState,
    Device,
    DrawingState,
    JobState,
    Level,
    ModelKind,
    Reason,
    UnitKind,
    UnitState,
)
from core.models.tally import Tally
from core.models.unit import Unit
from core.models.worker_node import WorkerNode

__all__ = [
    "DEFAULT_QUEUE",
    "JOB_ACTIVE",
    "JOB_ENDED",
    "UNIT_ENDED",
    "ApiKey",
    "Attempt",
    "Base",
    "Checkpoint",
    "Dataset",
    "DatasetState",
    "Device",
    "Drawing",
    "DrawingState",
    "Event",
    "File",
    "Idempotency",
    "Job",
    "JobState",
    "Level",
    "Metric",
    "Model",
    "ModelKind",
    "Outbox",
    "Project",
    "Reason",
    "Sample",
    "Tally",
    "Unit",
    "UnitKind",
    "UnitState",
    "WorkerNode",
]
