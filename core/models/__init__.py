"""All tables, so that importing this package fills ``Base.metadata``."""

from core.models.base import Base
from core.models.dataset import Dataset, DatasetState
from core.models.drawing import Drawing, DrawingState
from core.models.file import File
from core.models.job import FINAL_JOB_STATES, Job, JobState
from core.models.messaging import Idempotency, Outbox, WorkerNode
from core.models.model import Model, ModelKind
from core.models.project import ApiKey, Project
from core.models.record import Checkpoint, Event, Metric, Sample
from core.models.unit import Unit, UnitKind, UnitState

__all__ = [
    "FINAL_JOB_STATES",
    "ApiKey",
    "Base",
    "Checkpoint",
    "Dataset",
    "DatasetState",
    "Drawing",
    "DrawingState",
    "Event",
    "File",
    "Idempotency",
    "Job",
    "JobState",
    "Metric",
    "Model",
    "ModelKind",
    "Outbox",
    "Project",
    "Sample",
    "Unit",
    "UnitKind",
    "UnitState",
    "WorkerNode",
]
