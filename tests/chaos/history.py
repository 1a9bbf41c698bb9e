"""What a chaos run left behind, as plain values: the rows that tell its history, and the store's objects."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import func, select

from core.db import Database, transaction
from core.models import (
    Attempt,
    Checkpoint,
    Dataset,
    DeliveryState,
    Event,
    File,
    Job,
    Model,
    ModelKind,
    Outbox,
    Project,
    Sample,
    Unit,
    UnitKind,
    WebhookDelivery,
)
from core.storage.store import ObjectStore

FENCE = re.compile(r"^jobs/[^/]+/units/([^/]+)/(\d+)/")
CHUNK = 1 << 20


@dataclass(frozen=True)
class Told:
    """An event of a job."""

    seq: int
    type: str
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Saved:
    """A checkpoint's row: its unit, its step, and the keys of its objects."""

    unit: str
    step: int
    keys: tuple[str, ...]


@dataclass(frozen=True)
class Seen:
    """A unit as it ended; ``weights`` is the sha256 of each file of weights in its output."""

    id: str
    job: str | None
    kind: str
    iteration: int
    state: str
    fence: int
    keys: tuple[str, ...] = ()
    weights: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Sent:
    """A request that reached an endpoint of webhooks: its ``webhook-id``, its body, and when it came."""

    id: str
    body: str
    at: float
    """Unix seconds."""
    signed: bool


@dataclass(frozen=True)
class Run:
    """A job: what was asked, and what it came to."""

    id: str
    token: str
    kind: str
    state: str
    every: int
    """Steps between checkpoints."""
    steps: int
    """Of an iteration."""
    failure: str = ""
    cancelled: bool = False
    """Whether somebody asked for its end."""
    events: tuple[Told, ...] = ()
    models: int = 0


@dataclass(frozen=True)
class History:
    """Everything that the invariants are about."""

    accepted: Mapping[str, str]
    """Token of a request -> id of the job that the API answered with."""
    runs: tuple[Run, ...]
    units: tuple[Seen, ...]
    checkpoints: Mapping[str, Saved]
    """By their ids."""
    referenced: Mapping[str, str]
    """Key -> sha256, of every object that a row tells of; "" where the row does not tell it."""
    objects: Mapping[str, str]
    """Key -> sha256, of every object in the store."""
    reference: Mapping[str, Mapping[int, Mapping[str, str]]]
    """Kind of job -> iteration -> the weights of a run that nothing disturbed."""
    open_attempts: int = 0
    unsent: int = 0
    processes: int = 0
    """Engine processes that still run."""
    reserved: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Project -> what is held back for its jobs: GPU seconds, and places among the open jobs."""
    sent: Mapping[str, tuple[Sent, ...]] = field(default_factory=dict)
    """Path of an endpoint that listens for the states of jobs -> what reached it, in its order."""
    undelivered: int = 0
    """Events that an endpoint is still owed, or that were given up."""


def fence_of(key: str) -> tuple[str, int] | None:
    """Return the unit and the fence under whose prefix an object lies."""
    found = FENCE.match(key)
    return None if found is None else (found[1], int(found[2]))


def read(
    database: Database,
    store: ObjectStore,
    *,
    accepted: Mapping[str, str],
    reference: Mapping[str, Mapping[int, Mapping[str, str]]],
    processes: int,
    sent: Mapping[str, tuple[Sent, ...]] | None = None,
) -> History:
    """Read it all. The stack must be quiet."""
    objects = {key: _sha256(store, key) for key in store.list("")}
    with transaction(database) as session:
        events: dict[str, list[Told]] = {}
        for event in session.scalars(select(Event).order_by(Event.job_id, Event.seq)):
            events.setdefault(event.job_id, []).append(Told(event.seq, event.type, event.data or {}))
        models = list(session.scalars(select(Model.job_id).where(Model.kind == ModelKind.result)))
        runs = tuple(
            _run(job, tuple(events.get(job.id, ())), models.count(job.id))
            for job in session.scalars(select(Job).order_by(Job.id))
        )
        units = list(session.scalars(select(Unit)))
        saved = list(session.scalars(select(Checkpoint)))
        referenced: dict[str, str] = {}
        for manifest in (*((unit.output or {}).get("files") for unit in units), *(c.files for c in saved)):
            referenced |= {file["key"]: file["sha256"] for file in manifest or ()}
        for dataset in session.scalars(select(Dataset)):
            for manifest in (dataset.shards, dataset.pages, dataset.fingerprints, dataset.rejections):
                referenced |= {file["key"]: file["sha256"] for file in manifest or ()}
        referenced |= {f.key: f.sha256 for f in session.scalars(select(File)) if f.key and not f.deleted_at}
        referenced |= dict.fromkeys(session.scalars(select(Sample.key)), "")
        open_attempts = len(session.scalars(select(Attempt.unit_id).where(Attempt.ended_at.is_(None))).all())
        reserved = {project.id: _reserved(project) for project in session.scalars(select(Project))}
        undelivered = session.scalar(
            select(func.count()).where(WebhookDelivery.state != DeliveryState.succeeded)
        )
        unsent = len(session.scalars(select(Outbox.id).where(Outbox.sent_at.is_(None))).all())
    return History(
        accepted=accepted,
        runs=runs,
        units=tuple(_seen(unit) for unit in units),
        checkpoints={c.id: Saved(c.unit_id, c.step, tuple(f["key"] for f in c.files)) for c in saved},
        referenced=referenced,
        objects=objects,
        reference=reference,
        open_attempts=open_attempts,
        unsent=unsent,
        processes=processes,
        reserved=reserved,
        sent=sent or {},
        undelivered=undelivered or 0,
    )


def _reserved(project: Project) -> dict[str, float]:
    """Return what a project holds back for jobs, and how many it counts as open."""
    return {"gpu_seconds_reserved": project.gpu_seconds_reserved, "open_jobs": project.open_jobs}


def _run(job: Job, events: tuple[Told, ...], models: int) -> Run:
    chosen = job.method[job.method["type"]]["hyperparameters"]
    steps = chosen["steps"]
    failure = job.failure or {}
    return Run(
        id=job.id,
        token=(job.metadata_ or {}).get("token", ""),
        kind=job.method["type"],
        state=job.state.value,
        every=chosen["checkpoint_every"],
        steps=steps[0] if isinstance(steps, list) else steps,
        failure=f"{failure.get('reason')}: {failure.get('message')}" if failure else "",
        cancelled=job.cancel_requested,
        events=events,
        models=models,
    )


def _seen(unit: Unit) -> Seen:
    files = (unit.output or {}).get("files") or ()
    made = unit.kind is UnitKind.train
    return Seen(
        id=unit.id,
        job=unit.job_id,
        kind=unit.kind.value,
        iteration=unit.iteration,
        state=unit.state.value,
        fence=unit.fence,
        keys=tuple(file["key"] for file in files),
        weights={f["path"]: f["sha256"] for f in files if made and f["path"].endswith(".safetensors")},
    )


def _sha256(store: ObjectStore, key: str) -> str:
    digest = hashlib.sha256()
    with store.open(key) as stream:
        while piece := stream.read(CHUNK):
            digest.update(piece)
    return digest.hexdigest()
