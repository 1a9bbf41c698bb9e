"""The tables, one a file; importing this package knows them all."""

from core.models.api_key import ApiKey, FormerSecret
from core.models.attempt import Attempt
from core.models.audit_entry import AuditEntry
from core.models.ballot import Ballot
from core.models.blob import Blob
from core.models.checkpoint import Checkpoint
from core.models.columns import Base
from core.models.comparison import Comparison, ComparisonModel, DatasetPairs
from core.models.comparison_picture import ComparisonPicture
from core.models.dataset import Dataset
from core.models.drawing import Drawing
from core.models.event import Event
from core.models.file import File
from core.models.gang_seat import GangSeat
from core.models.idempotency import Idempotency
from core.models.job import Job
from core.models.metric import Metric
from core.models.model import Model
from core.models.model_alias import AliasMove, ModelAlias
from core.models.model_export import ModelExport
from core.models.model_import import ModelImport
from core.models.model_version import ModelVersion
from core.models.outbox import Outbox
from core.models.project import Project
from core.models.registered_model import RegisteredModel
from core.models.sample import Sample
from core.models.states import (
    DEFAULT_QUEUE,
    DRAWING_ENDED,
    JOB_ACTIVE,
    JOB_ENDED,
    UNIT_ENDED,
    Choice,
    ComparisonState,
    DatasetState,
    DeliveryState,
    Device,
    DrawingState,
    ExportFormat,
    JobState,
    Level,
    ModelKind,
    MoveCause,
    Outcome,
    PictureState,
    Reason,
    SeatState,
    TransferState,
    UnitKind,
    UnitState,
    UploadState,
)
from core.models.tally import Tally
from core.models.unit import Unit
from core.models.upload import Upload, UploadPart
from core.models.web_session import WebSession
from core.models.webhook_attempt import WebhookAttempt
from core.models.webhook_delivery import WebhookDelivery
from core.models.webhook_endpoint import WebhookEndpoint
from core.models.worker_node import WorkerNode

__all__ = [
    "DEFAULT_QUEUE",
    "DRAWING_ENDED",
    "JOB_ACTIVE",
    "JOB_ENDED",
    "UNIT_ENDED",
    "AliasMove",
    "ApiKey",
    "Attempt",
    "AuditEntry",
    "Ballot",
    "Base",
    "Blob",
    "Checkpoint",
    "Choice",
    "Comparison",
    "ComparisonModel",
    "ComparisonPicture",
    "ComparisonState",
    "Dataset",
    "DatasetPairs",
    "DatasetState",
    "DeliveryState",
    "Device",
    "Drawing",
    "DrawingState",
    "Event",
    "ExportFormat",
    "File",
    "FormerSecret",
    "GangSeat",
    "Idempotency",
    "Job",
    "JobState",
    "Level",
    "Metric",
    "Model",
    "ModelAlias",
    "ModelExport",
    "ModelImport",
    "ModelKind",
    "ModelVersion",
    "MoveCause",
    "Outbox",
    "Outcome",
    "PictureState",
    "Project",
    "Reason",
    "RegisteredModel",
    "Sample",
    "SeatState",
    "Tally",
    "TransferState",
    "Unit",
    "UnitKind",
    "UnitState",
    "Upload",
    "UploadPart",
    "UploadState",
    "WebSession",
    "WebhookAttempt",
    "WebhookDelivery",
    "WebhookEndpoint",
    "WorkerNode",
]
