"""What is known of a model, for its card: nothing that no row, or file of the base, tells."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.cards.previews import Shown, previews_of
from core.lineage import steps
from core.models import Checkpoint, Dataset, Event, Job, Model, ModelImport, ModelKind, Unit, UnitKind
from core.registered.lookup import versions_of

DATA_LICENCE = "data_licence"
"""The word of a job's metadata that tells the licence of its data."""
LARGEST_README = 1 << 20


@dataclass(frozen=True)
class Data:
    """A dataset version that a job used."""

    role: str
    id: str
    name: str
    version: int
    rows: int | None
    sha256: str | None


@dataclass(frozen=True)
class Measured:
    """One metric after one iteration, with its 95% interval where it has one."""

    iteration: int
    name: str
    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Training:
    """The job that made a model, up to the iteration that the model is."""

    job: str
    started_from: str
    method: str
    hyperparameters: dict[str, Any]
    seed: int
    iteration: int | None
    step: int | None
    data: tuple[Data, ...]
    data_licence: str | None
    metrics: tuple[Measured, ...]
    previews: tuple[Shown, ...]
    versions: dict[str, str]
    request: dict[str, Any]


@dataclass(frozen=True)
class Origin:
    """The file that a model was imported from."""

    licence: str | None
    notes: str | None
    found: dict[str, Any] | None


@dataclass(frozen=True)
class Facts:
    """What is known of a model. ``digest`` is of its files' names and sums.

    ``adapter``: it is a LoRA on top of its base, and no pipeline of its own.
    """

    id: str
    kind: str
    created: int
    base_model: str | None
    base_licence: str | None
    digest: str
    registered: tuple[str, ...]
    training: Training | None
    origin: Origin | None
    adapter: bool
    lineage: tuple[dict[str, Any], ...]

    @property
    def licence(self) -> str | None:
        """The licence of the model's own weights, as far as it follows from what is told."""
        return (self.origin and self.origin.licence) or self.base_licence

    def as_json(self) -> dict[str, Any]:
        """Return the facts as the API tells them; of pictures their names."""
        told = asdict(self) | {"licence": self.licence}
        if self.training is not None:
            told["training"]["previews"] = [
                {"iteration": each.iteration, "name": each.filename} for each in self.training.previews
            ]
        return told


def facts_of(session: Session, model: Model) -> Facts:
    """Return what is known of a model that ``registry.get_model`` found."""
    job = session.get(Job, model.job_id) if model.job_id is not None else None
    project_id = model.project_id or ""
    return Facts(
        id=model.id,
        kind=model.kind.value,
        created=int(model.created_at.timestamp()),
        base_model=model.base_model_id if job is None else _start(session, job),
        base_licence=_base_licence(session, model.base_model_id or model.id),
        digest=model.digest,
        registered=tuple(versions_of(session, [model.id]).get(model.id, ())),
        training=None if job is None else _training(session, model, job),
        origin=_origin(session, model),
        adapter=_is_adapter(model, job),
        lineage=tuple(
            step
            for step in steps.lineage(session, project_id=project_id, model_id=model.id)
            if step["type"] in ("model", "job", "dataset")
        ),
    )


def _start(session: Session, job: Job) -> str:
    """Return the pipeline that a job's weights are relative to: a base model, or a result it started from."""
    found = session.scalar(select(Model.id).where(Model.source == job.pipeline, Model.weights.is_(None)))
    return found or job.base_model_id


def _is_adapter(model: Model, job: Job | None) -> bool:
    """Tell whether a model is weights on top of its base, and not a pipeline of its own."""
    if model.kind is not ModelKind.checkpoint or job is None:
        return model.weights is not None
    return bool(job.method[job.method["type"]]["hyperparameters"].get("adapter") == "lora")


def _training(session: Session, model: Model, job: Job) -> Training:
    checkpoint = session.get(Checkpoint, model.id) if model.kind is ModelKind.checkpoint else None
    last = None if checkpoint is None else checkpoint.iteration
    kind = job.method["type"]
    shown = previews_of(session, job.id)
    return Training(
        job=job.id,
        started_from=job.model_id,
        method=kind,
        hyperparameters=job.method[kind]["hyperparameters"],
        seed=job.seed,
        iteration=last,
        step=None if checkpoint is None else checkpoint.step,
        data=tuple(_data(session, job)),
        data_licence=(job.metadata_ or {}).get(DATA_LICENCE),
        metrics=tuple(each for each in _metrics(session, job.id) if last is None or each.iteration <= last),
        previews=tuple(each for each in shown if last is None or each.iteration <= last),
        versions=_versions(session, job.id),
        request=request_of(job),
    )


def _data(session: Session, job: Job) -> list[Data]:
    roles = {"training": job.dataset_id, "validation": job.validation_dataset_id}
    found = [(role, session.get(Dataset, each)) for role, each in roles.items() if each is not None]
    return [
        Data(role, each.id, each.name, each.version, each.rows, each.sha256)
        for role, each in found
        if each is not None
    ]


def _metrics(session: Session, job_id: str) -> list[Measured]:
    """Return what evaluations told, with their intervals; of an iteration measured twice the last."""
    told = session.scalars(
        select(Event.data).where(Event.job_id == job_id, Event.type == "evaluation").order_by(Event.seq)
    )
    found = {
        (data["iteration"], name): Measured(
            data["iteration"], name, value.get("value"), value.get("low"), value.get("high")
        )
        for data in told
        if data is not None
        for name, value in data["values"].items()
    }
    return [found[key] for key in sorted(found)]


def _versions(session: Session, job_id: str) -> dict[str, str]:
    """Return the versions of the libraries that the last training ran with."""
    output = session.scalar(
        select(Unit.output)
        .where(Unit.job_id == job_id, Unit.kind == UnitKind.train, Unit.output.is_not(None))
        .order_by(Unit.iteration.desc())
        .limit(1)
    )
    return (output or {}).get("versions") or {}


def request_of(job: Job) -> dict[str, Any]:
    """Return the body of POST /v1/fine_tuning/jobs that makes the same model again."""
    told = {
        "model": job.model_id,
        "training_file": job.dataset_id,
        "validation_file": job.validation_dataset_id,
        "method": job.method,
        "seed": job.seed,
        "suffix": job.suffix,
        "metadata": job.metadata_,
    }
    return {name: value for name, value in told.items() if value is not None}


def _origin(session: Session, model: Model) -> Origin | None:
    if model.kind is not ModelKind.imported:
        return None
    row = session.scalar(select(ModelImport).where(ModelImport.model_id == model.id))
    return None if row is None else Origin(row.licence, row.notes, row.found)


def _base_licence(session: Session, base_model_id: str) -> str | None:
    """Return the licence that a base model's own card, or its import, tells."""
    base = session.get(Model, base_model_id)
    if base is None:
        return None
    if base.kind is ModelKind.imported:
        return session.scalar(select(ModelImport.licence).where(ModelImport.model_id == base.id))
    folder = base.source.removeprefix("folder:")
    return licence_in(Path(folder)) if folder != base.source else None


def licence_in(folder: Path) -> str | None:
    """Return the licence in the front matter of a folder's README.md, as model hubs keep it."""
    card = folder / "README.md"
    try:
        text = card.read_text() if card.stat().st_size <= LARGEST_README else ""
        matter = yaml.safe_load(text.split("---")[1]) if text.startswith("---") else None
    except (OSError, ValueError, yaml.YAMLError, IndexError):
        return None
    told = matter.get("license") if isinstance(matter, dict) else None
    return told if isinstance(told, str) else None
