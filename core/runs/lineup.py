"""Who is at work and who waits, as a project may see it: its own in full, everybody else's as numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session, load_only

from core import workers
from core.clock import utcnow
from core.models import (
    Dataset,
    DatasetState,
    Drawing,
    DrawingState,
    Job,
    JobState,
    ModelExport,
    ModelImport,
    Unit,
    UnitKind,
    UnitState,
)
from core.paging import Page
from core.runs import gangs, seats
from core.runs.capabilities import Need, waits_for
from core.runs.views import JobDetails, describe_jobs

MOST_AT_WORK = 100
TRANSFERS = (UnitKind.export, UnitKind.import_)
UNITS = load_only(
    Unit.id,
    Unit.job_id,
    Unit.dataset_id,
    Unit.transfer_id,
    Unit.project_id,
    Unit.kind,
    Unit.iteration,
    Unit.shard,
    Unit.shards,
    Unit.state,
    Unit.queue,
    Unit.worker,
    Unit.attempt,
    Unit.progress,
    Unit.started_at,
    raiseload=True,
)


class Standing(StrEnum):
    """How a worker stands; ``silent`` when nothing was heard of it for four heartbeats."""

    busy = "busy"
    idle = "idle"
    silent = "silent"


@dataclass(frozen=True)
class AtWork:
    """A unit, and what it is of: a job, called by its suffix, a dataset, or a model that comes or goes.

    ``gang`` are the workers that do it together, the leader first; empty where one does it alone.
    """

    unit: Unit
    name: str
    gang: tuple[str, ...] = ()


@dataclass(frozen=True)
class Worker:
    """A worker, and what it does for the project that asks; ``busy`` without a unit: another's work."""

    seen: workers.Seen
    standing: Standing
    at_work: AtWork | None


@dataclass(frozen=True)
class Line:
    """A project's work.

    Attributes:
        running: units that workers hold, the longest at work first.
        active: jobs that have begun, by priority and age.
        queued: jobs that wait for their first worker, in the order in which they start.
        queued_count: how many those are in all.
        datasets: which wait to be validated or are, oldest first.
        transfers: models that wait to be exported or imported, oldest first.
        validating: jobs that wait for their datasets, oldest first.
        details: of the jobs above, by id.
        dataset_waits_for: the worker without which no dataset is validated, in words; None when there is one.
        drawings: how many requests for pictures wait, and how many are being drawn.
        others: how many units of other projects are at work, and how many of their jobs are queued.
    """

    running: list[AtWork]
    active: list[Job]
    queued: list[Job]
    queued_count: int
    datasets: list[Dataset]
    transfers: list[AtWork]
    validating: list[Job]
    details: dict[str, JobDetails]
    dataset_waits_for: str | None
    drawings: tuple[int, int]
    others: tuple[int, int]

    @property
    def begun(self) -> list[Job]:
        """Jobs that have begun, none of whose units is held just now."""
        held = {each.unit.job_id for each in self.running}
        return [job for job in self.active if job.id not in held]


def list_workers(
    session: Session, *, project_id: str, after: str | None = None, limit: int = 100
) -> Page[Worker]:
    """Return the workers that were seen in the last week, by name; Invalid when ``after`` is none of them."""
    held = select(Unit).where(Unit.state == UnitState.running).options(UNITS)
    units = {unit.worker: unit for unit in session.scalars(held)}
    drawing = select(Drawing.worker).where(Drawing.state == DrawingState.running)
    busy = {*units, *session.scalars(drawing), *seats.held_by(session)}
    mine = _named(session, [unit for unit in units.values() if unit.project_id == project_id])
    doing = {worker: each for each in mine for worker in each.gang or (each.unit.worker,)}
    page = workers.everyone(session, after=after, limit=limit)
    return Page(
        [
            Worker(
                seen,
                Standing.silent
                if not seen.living
                else Standing.busy
                if seen.node.name in busy
                else Standing.idle,
                doing.get(seen.node.name) if seen.living else None,
            )
            for seen in page.items
        ],
        page.has_more,
    )


def line(session: Session, *, project_id: str, limit: int = 20, now: datetime | None = None) -> Line:
    """Return what is at work for a project and what waits, at most ``limit`` of each kind that waits."""
    running = at_work(session, project_id=project_id)
    active = _jobs(session, project_id, JobState.running, limit)
    queued = _jobs(session, project_id, JobState.queued, limit)
    validating = _jobs(session, project_id, JobState.validating_files, limit)
    shown = [*active, *queued, *validating]
    details = describe_jobs(session, shown, now=now or utcnow()) if shown else {}
    return Line(
        running=running,
        active=active,
        queued=sorted(queued, key=lambda job: (details[job.id].queue_position or 0, job.rank, job.id)),
        queued_count=_count(session, Job.project_id == project_id, Job.state == JobState.queued),
        datasets=_datasets(session, project_id, limit),
        transfers=_transfers(session, project_id, limit),
        validating=validating,
        details=details,
        dataset_waits_for=waits_for([Need(UnitKind.ingest)], workers.living(session)),
        drawings=(
            _drawings(session, project_id, DrawingState.pending),
            _drawings(session, project_id, DrawingState.running),
        ),
        others=(
            _count(session, Unit.project_id != project_id, Unit.state == UnitState.running),
            _count(session, Job.project_id != project_id, Job.state == JobState.queued),
        ),
    )


def at_work(session: Session, *, project_id: str, limit: int = MOST_AT_WORK) -> list[AtWork]:
    """Return the units of a project that workers hold, the longest at work first."""
    held = (
        select(Unit)
        .where(Unit.state == UnitState.running, Unit.project_id == project_id)
        .order_by(Unit.started_at, Unit.id)
        .limit(limit)
        .options(UNITS)
        .execution_options(populate_existing=True)
    )
    return _named(session, session.scalars(held).all())


def _named(session: Session, units: Sequence[Unit]) -> list[AtWork]:
    """Call each unit by what it is of, in a query a kind of thing."""
    jobs = {unit.job_id for unit in units if unit.job_id is not None}
    datasets = {unit.dataset_id for unit in units if unit.dataset_id is not None}
    names: dict[str, str] = {}
    if jobs:
        of_jobs = session.execute(select(Job.id, Job.suffix).where(Job.id.in_(jobs)))
        names |= {job_id: suffix or job_id for job_id, suffix in of_jobs}
    if datasets:
        told = select(Dataset.id, Dataset.name, Dataset.version).where(Dataset.id.in_(datasets))
        names |= {found: f"{name}, version {version}" for found, name, version in session.execute(told)}
    transfers = {unit.transfer_id for unit in units if unit.transfer_id is not None}
    if transfers:
        exports = select(ModelExport.id, ModelExport.model_id).where(ModelExport.id.in_(transfers))
        imports = select(ModelImport.id, ModelImport.name).where(ModelImport.id.in_(transfers))
        names |= {found: name for told in (exports, imports) for found, name in session.execute(told)}
    trained = [unit.id for unit in units if unit.kind is UnitKind.train]
    together = gangs.members(session, trained) if trained else {}
    return [
        AtWork(
            unit,
            names.get(unit.job_id or unit.dataset_id or unit.transfer_id or "", unit.id),
            tuple(together.get(unit.id, ())),
        )
        for unit in units
    ]


def _transfers(session: Session, project_id: str, limit: int) -> list[AtWork]:
    """Return units of transfers that no worker holds yet."""
    found = (
        select(Unit)
        .where(Unit.state == UnitState.pending, Unit.project_id == project_id, Unit.kind.in_(TRANSFERS))
        .order_by(Unit.id)
        .limit(limit)
        .options(UNITS)
    )
    return _named(session, session.scalars(found).all())


def _jobs(session: Session, project_id: str, state: JobState, limit: int) -> list[Job]:
    found = (
        select(Job)
        .where(Job.project_id == project_id, Job.state == state)
        .order_by(Job.rank, Job.id)
        .limit(limit)
        .execution_options(populate_existing=True)
    )
    return list(session.scalars(found))


def _datasets(session: Session, project_id: str, limit: int) -> list[Dataset]:
    found = (
        select(Dataset)
        .where(Dataset.project_id == project_id, Dataset.state == DatasetState.validating)
        .order_by(Dataset.id)
        .limit(limit)
        .execution_options(populate_existing=True)
    )
    return list(session.scalars(found))


def _drawings(session: Session, project_id: str, state: DrawingState) -> int:
    return _count(session, Drawing.project_id == project_id, Drawing.state == state)


def _count(session: Session, *which: ColumnElement[bool]) -> int:
    return session.scalar(select(func.count()).where(*which)) or 0
