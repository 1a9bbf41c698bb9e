"""Jobs as people see them: what their units tell, and what they left behind. Reading only."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from core import workers
from core.clock import utcnow
from core.errors import NotFound
from core.methods import hyperparameters_of
from core.models import JOB_ENDED, Checkpoint, Event, Job, JobState, Metric, Sample, Unit, UnitKind
from core.paging import Page, page
from core.runs import waiting
from core.runs.estimate import seconds_left
from core.runs.jobs import get_job
from core.runs.progress import share_done
from core.runs.records import EVALUATION_STEP
from core.runs.waiting import Wait

EVAL = "eval/"


@dataclass(frozen=True)
class JobDetails:
    """What is found out about a job beside its row.

    Attributes:
        iterations: one an iteration, -1 being the base model: state, step, of, objective, evaluation.
        attempts: one a unit in the order of the plan: what it does, state, times, progress, worker, failure.
        progress: how much of the work is done, from 0 to 1.
        queue_position: 1 for the job that is started next on its queue; None unless it is queued.
        starts_at: when a worker may start it, in Unix seconds; None unless it is queued and that can be told.
        waits_for: the worker without which it never ends, in words; None when there is one.
        estimate: as far as it can be told ``{"disk_bytes", "memory_bytes_at_least", "seconds"}`` (core.runs.
            estimate), while it runs ``{"seconds_left", "finish"}``, and from its end on ``{"actual"}``.
    """

    iterations: list[dict[str, Any]]
    attempts: list[dict[str, Any]]
    progress: float
    queue_position: int | None
    starts_at: int | None
    waits_for: str | None
    estimate: dict[str, Any] | None


def describe_jobs(
    session: Session, jobs: Sequence[Job], *, now: datetime | None = None
) -> dict[str, JobDetails]:
    """Return the details of each job by its id, in the same few queries however many jobs there are."""
    now = now or utcnow()
    ids = [job.id for job in jobs]
    units: dict[str | None, list[Unit]] = defaultdict(list)
    newest = select(Unit).where(Unit.job_id.in_(ids)).order_by(Unit.position)
    for unit in session.scalars(newest.execution_options(populate_existing=True)):
        units[unit.job_id].append(unit)
    measured: dict[tuple[str, int], dict[str, float]] = defaultdict(dict)
    evaluated = select(Metric).where(
        Metric.job_id.in_(ids), Metric.step == EVALUATION_STEP, Metric.name.startswith(EVAL, autoescape=True)
    )
    for metric in session.scalars(evaluated):
        measured[metric.job_id, metric.iteration][metric.name.removeprefix(EVAL)] = metric.value
    queued = any(job.state is JobState.queued for job in jobs)
    place = waiting.waits(session, now=now) if queued else {}
    nodes = workers.living(session) if any(job.state not in JOB_ENDED for job in jobs) else []
    return {
        job.id: JobDetails(
            iterations=[
                _iteration(job, unit, measured.get((job.id, unit.iteration)))
                for unit in units[job.id]
                if unit.kind is UnitKind.evaluate
            ],
            attempts=[_attempt(unit) for unit in units[job.id]],
            progress=1.0 if job.state is JobState.succeeded else share_done(units[job.id]),
            queue_position=_position(job, place.get(job.id)),
            starts_at=_starts_at(place.get(job.id), now),
            waits_for=waiting.missing(job, units[job.id], nodes),
            estimate=_estimate(job, units[job.id], now),
        )
        for job in jobs
    }


def _position(job: Job, wait: Wait | None) -> int | None:
    if job.state is not JobState.queued:
        return None
    return waiting.MOST + 1 if wait is None else wait.position


def _starts_at(wait: Wait | None, now: datetime) -> int | None:
    if wait is None or wait.seconds is None:
        return None
    return int((now + timedelta(seconds=wait.seconds)).timestamp())


def _iteration(job: Job, evaluate: Unit, evaluation: dict[str, float] | None) -> dict[str, Any]:
    told: dict[str, Any] = {
        "iteration": evaluate.iteration,
        "evaluate": evaluate.state.value,
        "evaluation": evaluation,
    }
    if evaluate.iteration >= 0:
        plan = hyperparameters_of(job.method).for_iteration(evaluate.iteration)
        told |= {"objective": plan.objective, "steps": plan.steps}
    return told


def _attempt(unit: Unit) -> dict[str, Any]:
    return {
        "unit": unit.id,
        "kind": unit.kind.value,
        "iteration": unit.iteration,
        "shard": unit.shard,
        "shards": unit.shards,
        "attempt": unit.attempt,
        "state": unit.state.value,
        "worker": unit.worker,
        "started_at": unit.started_at and unit.started_at.timestamp(),
        "finished_at": unit.finished_at and unit.finished_at.timestamp(),
        "progress": unit.progress,
        "failure": unit.failure,
    }


def _estimate(job: Job, units: list[Unit], now: datetime) -> dict[str, Any] | None:
    told: dict[str, Any] = dict(job.estimate or {})
    if job.state not in JOB_ENDED and job.state is not JobState.paused:
        left = seconds_left(units, hyperparameters_of(job.method))
        if left is not None:
            finish = int((now + timedelta(seconds=left)).timestamp())
            told |= {"seconds_left": round(left, 1), "finish": finish}
    return told or None


def has_ended(session: Session, *, job_id: str) -> bool:
    """Tell whether a job has ended, and so has told all its events."""
    return session.scalar(select(Job.state).where(Job.id == job_id)) in JOB_ENDED


def list_events(
    session: Session, *, project_id: str, job_id: str, after: str | None = None, limit: int = 20
) -> Page[Event]:
    """List a job's events, newest first, after the event with the id ``after``."""
    get_job(session, project_id=project_id, job_id=job_id)
    seq = None if after is None else event_seq(session, job_id=job_id, event_id=after)
    return page(session, select(Event).where(Event.job_id == job_id), by=Event.seq, after=seq, limit=limit)


def newest_events(session: Session, *, job_id: str, limit: int) -> list[Event]:
    """Return a job's last events, newest first, without those that tell of numbers: curves show them."""
    told = select(Event).where(Event.job_id == job_id, Event.type != "metrics")
    return list(session.scalars(told.order_by(Event.seq.desc()).limit(limit)))


def event_seq(session: Session, *, job_id: str, event_id: str) -> int:
    """Return the number of a job's event."""
    seq = session.scalar(select(Event.seq).where(Event.job_id == job_id, Event.id == event_id))
    if seq is None:
        raise NotFound(f"{job_id} has no event {event_id}", param="after", code="event_not_found")
    return seq


def events_after(session: Session, *, job_id: str, seq: int, limit: int) -> list[Event]:
    """Return a job's events after the one with this number, oldest first."""
    statement = select(Event).where(Event.job_id == job_id, Event.seq > seq)
    return list(session.scalars(statement.order_by(Event.seq).limit(limit)))


def list_metrics(
    session: Session,
    *,
    project_id: str,
    job_id: str,
    names: Sequence[str] | None = None,
    after: int | None = None,
    limit: int = 1000,
) -> Page[Metric]:
    """List a job's numbers as they were measured, after the one whose ``seq`` is ``after``."""
    get_job(session, project_id=project_id, job_id=job_id)
    statement = select(Metric).where(Metric.job_id == job_id, Metric.seq > (after or 0))
    if names is not None:
        statement = statement.where(Metric.name.in_(names))
    rows = list(session.scalars(statement.order_by(Metric.seq).limit(limit + 1)))
    return Page(rows[:limit], len(rows) > limit)


def list_samples(
    session: Session, *, project_id: str, job_id: str, iteration: int | None = None
) -> list[Sample]:
    """Return a job's previews by iteration, -1 being the base model, and then by prompt."""
    get_job(session, project_id=project_id, job_id=job_id)
    statement = select(Sample).where(Sample.job_id == job_id).order_by(Sample.iteration, Sample.index)
    if iteration is not None:
        statement = statement.where(Sample.iteration == iteration)
    return list(session.scalars(statement))


def get_sample(session: Session, *, project_id: str, job_id: str, iteration: int, index: int) -> Sample:
    """Return one preview of a job; NotFound where there is none."""
    get_job(session, project_id=project_id, job_id=job_id)
    sample = session.get(Sample, (job_id, iteration, index))
    if sample is None:
        raise NotFound(f"{job_id} has no picture {index} of iteration {iteration}", code="sample_not_found")
    return sample


def list_checkpoints(
    session: Session, *, project_id: str, job_id: str, after: str | None = None, limit: int = 20
) -> Page[Checkpoint]:
    """List a job's checkpoints, newest first."""
    get_job(session, project_id=project_id, job_id=job_id)
    return page(
        session,
        select(Checkpoint).where(Checkpoint.job_id == job_id),
        by=Checkpoint.id,
        after=after,
        limit=limit,
    )


def get_checkpoint(session: Session, *, project_id: str, checkpoint_id: str) -> Checkpoint:
    """Return a checkpoint; NotFound in another project."""
    found = session.scalar(
        select(Checkpoint)
        .join(Job, Job.id == Checkpoint.job_id)
        .where(Checkpoint.id == checkpoint_id, Job.project_id == project_id)
    )
    if found is None:
        raise NotFound(f"there is no checkpoint {checkpoint_id} in this project", code="checkpoint_not_found")
    return found
