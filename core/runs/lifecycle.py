"""The states of a job: every change is one UPDATE that names the states it may come from.

Whoever changes units of a job locks the job's row first, by an UPDATE. Two who finish units of one job at
the same moment therefore go one after the other, and always in the order job, unit.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from core import outbox
from core.clock import database_now, utcnow
from core.db import settings_of
from core.events import NewEvent, tell
from core.ids import new_id
from core.methods import hyperparameters_of
from core.models import (
    JOB_ENDED,
    Attempt,
    Checkpoint,
    Dataset,
    DatasetState,
    Job,
    JobState,
    Level,
    Model,
    Unit,
    UnitKind,
    UnitState,
)
from core.planner import PlannedUnit, Transitions, UnitView, advance, plan_job, shards_of
from core.queue import RUN_UNIT
from core.runs import estimate
from core.runs.accounts import close_account, close_attempts, gpu_seconds
from core.runs.capabilities import device_of, memory_of
from core.webhooks.events import EventType, emit
from spin_engine import footprint
from spin_engine.config import JobConfig
from spin_engine.hyperparameters import Hyperparameters
from spin_engine.sizes import PipelineSize

QUIETLY = {"synchronize_session": False}
SAID = {
    JobState.validating_files: "The job waits for its datasets.",
    JobState.queued: "The job is queued.",
    JobState.running: "The job is running.",
    JobState.paused: "The job is paused.",
    JobState.succeeded: "The job has succeeded.",
    JobState.failed: "The job failed.",
    JobState.cancelled: "The job is cancelled.",
}
EVENTS = {
    JobState.running: EventType.job_running,
    JobState.paused: EventType.job_paused,
    JobState.succeeded: EventType.job_succeeded,
    JobState.failed: EventType.job_failed,
    JobState.cancelled: EventType.job_cancelled,
}
LEVELS = {JobState.failed: Level.error, JobState.cancelled: Level.warn}


def lock(session: Session, job_id: str) -> Job:
    """Lock a job's row until the transaction ends, and return it as it is now."""
    session.execute(
        update(Job).where(Job.id == job_id).values(event_seq=Job.event_seq).execution_options(**QUIETLY)
    )
    return session.scalars(
        select(Job).where(Job.id == job_id).execution_options(populate_existing=True)
    ).one()


def move(session: Session, job: Job, *, to: JobState, come_from: Sequence[JobState], **values: Any) -> bool:
    """Change a job's state, tell it, and return whether it was in a state to come from."""
    moved = session.execute(
        update(Job)
        .where(Job.id == job.id, Job.state.in_(come_from))
        .values(state=to, **values)
        .returning(Job.id)
        .execution_options(**QUIETLY)
    ).first()
    if moved is None:
        return False
    data: dict[str, Any] = {"state": to.value}
    message = SAID[to]
    if to is JobState.failed:
        data["failure"] = values["failure"]
        message = f"The job failed ({values['failure']['reason']}): {values['failure']['message']}"
    tell(session, job.id, [NewEvent("state", message, data, LEVELS.get(to, Level.info))])
    if to in EVENTS:
        emit(session, project_id=job.project_id, event=EVENTS[to], data={"id": job.id, "status": to.value})
    session.refresh(job)
    return True


def end(
    session: Session, job: Job, *, state: JobState, failure: dict[str, Any] | None = None, **values: Any
) -> None:
    """End a job that has not ended, changing ``values`` of it; it has ended now, unless they say when."""
    open_states = [each for each in JobState if each not in JOB_ENDED]
    ended = move(
        session,
        job,
        to=state,
        come_from=open_states,
        failure=failure,
        pause_requested=False,
        **({"finished_at": utcnow()} | values),
    )
    if ended:
        close_account(session, job)


def settle(session: Session, job: Job) -> None:
    """Do what follows from the states of a locked job's units and from what is wished of it."""
    session.flush()
    # The end of each of many shards looks at all of them: columns, for whole rows take ten times as long.
    states = select(Unit.id, Unit.kind, Unit.state, Unit.needs).where(Unit.job_id == job.id)
    rows = session.execute(states.order_by(Unit.position)).all()
    views = [UnitView(row.id, row.kind, row.state, tuple(row.needs)) for row in rows]
    found = advance(views, cancelling=job.cancel_requested)
    _call_off(session, found.cancel)
    if found.job is not None:
        units = _units_of(session, job)
        culprit = next((unit for unit in units if unit.id == found.culprit), None)
        failure = None if culprit is None else failure_of(culprit)
        now = utcnow()
        actual = _taken(session, job, units, finished=now)
        known = (job.estimate or {}) | {"actual": actual}
        end(session, job, state=found.job, failure=failure, estimate=known, finished_at=now)
        return
    _make_ready(session, found)
    running = any(view.state is UnitState.running for view in views)
    if job.pause_requested and not running:
        move(
            session,
            job,
            to=JobState.paused,
            come_from=(JobState.queued, JobState.running, JobState.validating_files),
            pause_requested=False,
        )


def _units_of(session: Session, job: Job) -> list[Unit]:
    found = select(Unit).where(Unit.job_id == job.id).order_by(Unit.position)
    return list(session.scalars(found.execution_options(populate_existing=True)))


def note_time(session: Session, job: Job) -> None:
    """Keep the first estimate of a locked job's whole time, to be compared with what it takes."""
    known = job.estimate or {}
    if "seconds" in known or job.started_at is None:
        return
    units = _units_of(session, job)
    left = estimate.seconds_left(units, hyperparameters_of(job.method))
    if left is not None:
        spent = (utcnow() - job.started_at).total_seconds()
        job.estimate = known | {"seconds": round(spent + left, 1)}
        session.flush()


def failure_of(unit: Unit) -> dict[str, Any]:
    """Return a failed unit's failure as its job tells it."""
    return {**(unit.failure or {}), "unit": unit.id, "kind": unit.kind.value, "iteration": unit.iteration}


def _make_ready(session: Session, found: Transitions) -> None:
    if not found.ready:
        return
    started = session.execute(
        update(Unit)
        .where(Unit.id.in_(found.ready), Unit.state == UnitState.waiting)
        .values(state=UnitState.pending, pending_at=database_now())
        .returning(Unit.id, Unit.kind)
        .execution_options(**QUIETLY)
    ).all()
    for unit_id, kind in sorted(started, key=lambda unit: unit.id):
        outbox.enqueue(session, task=RUN_UNIT[kind], payload=unit_id)


def _call_off(session: Session, ids: Sequence[str]) -> None:
    """Cancel units; one that runs loses its fence, so that nothing of it becomes visible any more."""
    if not ids:
        return
    close_attempts(session, Attempt.unit_id.in_(ids), outcome="cancelled")
    session.execute(
        update(Unit)
        .where(Unit.id.in_(ids), Unit.state.in_((UnitState.waiting, UnitState.pending, UnitState.running)))
        .values(
            state=UnitState.cancelled, fence=Unit.fence + 1, lease_expires_at=None, finished_at=database_now()
        )
        .execution_options(**QUIETLY)
    )


def _taken(session: Session, job: Job, units: Sequence[Unit], *, finished: datetime) -> dict[str, Any]:
    saved = session.scalars(select(Checkpoint.files).where(Checkpoint.job_id == job.id)).all()
    shards = session.get_one(Dataset, job.dataset_id).shards or []
    taken = estimate.taken(units, [shards, *saved], started=job.started_at, finished=finished)
    used = gpu_seconds(session, job.id)
    return taken | ({"gpu_seconds": round(used, 1)} if used else {})


def _beforehand(session: Session, job: Job, config: JobConfig, dataset: Dataset) -> dict[str, Any] | None:
    base = session.get(Model, job.base_model_id)
    if base is None or base.size is None:
        return None
    assert dataset.rows is not None
    return estimate.beforehand(
        PipelineSize.of_json(base.size),
        config.method.hyperparameters,
        rows=dataset.rows,
        dataset_bytes=sum(file["size"] for file in dataset.shards or ()),
    )


def memory_held(session: Session, job: Job, asked: Hyperparameters) -> dict[str, int]:
    """Return the bytes that a job's units hold at least, as far as the base model's size is known."""
    base = session.get(Model, job.base_model_id)
    if base is None or base.size is None:
        return {"weights": 0, "training": 0}
    held = footprint.held(PipelineSize.of_json(base.size), asked)
    return {"weights": held.weights, "training": held.between_steps + held.gradients}


def plan(session: Session, job: Job, *, dataset: Dataset) -> None:
    """Write the units of a job whose dataset is ready, and let the first one start."""
    settings = settings_of(session)
    rows = dataset.rows
    assert rows is not None
    config = JobConfig.model_validate(
        {"model": job.model_id, "training_data": job.dataset_id, "method": job.method, "seed": job.seed}
    )
    asked = config.method.hyperparameters
    job.estimate = (job.estimate or {}) | (_beforehand(session, job, config, dataset) or {}) or None
    memory = memory_held(session, job, asked)
    planned = plan_job(
        asked.iterations,
        generates=frozenset(k for k in asked.iterations if asked.for_iteration(k).generates),
        shards=shards_of(rows, shard_rows=settings.shard_rows, max_shards=settings.max_shards),
        encode_shards=shards_of(rows, shard_rows=settings.encode_shard_rows, max_shards=settings.max_shards),
    )
    ids = {unit.name: new_id("unit-") for unit in planned}
    for position, unit in enumerate(planned):
        session.add(
            Unit(
                id=ids[unit.name],
                job_id=job.id,
                kind=unit.kind,
                iteration=unit.iteration,
                shard=unit.shard,
                shards=unit.shards,
                position=position,
                priority=job.priority,
                project_id=job.project_id,
                queue=job.queue,
                device=device_of(unit.kind, asked=job.device),
                memory_bytes=memory_of(unit.kind, **memory),
                state=UnitState.waiting,
                needs=[ids[name] for name in unit.needs],
                content_key=_content_of(job, unit),
            )
        )
    settle(session, job)


def start_if_valid(session: Session, job: Job) -> None:
    """Plan a locked job once its datasets are ready, or end it when one of them failed."""
    if job.state is not JobState.validating_files:
        return
    ids = [job.dataset_id, *filter(None, [job.validation_dataset_id])]
    known = select(Dataset).where(Dataset.id.in_(ids)).execution_options(populate_existing=True)
    datasets = {each.id: each for each in session.scalars(known)}
    for dataset in datasets.values():
        if dataset.state is DatasetState.failed:
            why = (dataset.failure or {}).get("message", "it could not be read")
            end(
                session,
                job,
                state=JobState.failed,
                failure={"reason": "user_error", "message": f"dataset {dataset.id}: {why}", "unit": None},
            )
            return
    if all(dataset.state is DatasetState.ready for dataset in datasets.values()):
        training = datasets[job.dataset_id]
        assert training.sha256 is not None
        job.content_key = content_key(job, training.sha256)
        session.flush()
        move(session, job, to=JobState.queued, come_from=(JobState.validating_files,))
        plan(session, job, dataset=training)


def content_key(job: Job, sha256: str) -> str:
    """Return what decides the output of a job's ``encode``: project, pipeline, data, sizes of pictures."""
    hyperparameters = job.method[job.method["type"]]["hyperparameters"]
    key = f"encode:{job.project_id}:{job.pipeline_digest}:{sha256}:{hyperparameters.get('resolution')}"
    return f"{key}:buckets" if hyperparameters.get("aspect_buckets") else key


def _content_of(job: Job, unit: PlannedUnit) -> str | None:
    """Return what decides a unit's output, if other jobs may have it too: all of the data's, or a part."""
    if unit.kind is not UnitKind.encode:
        return None
    return job.content_key if unit.shards == 1 else f"{job.content_key}:{unit.shard}/{unit.shards}"
