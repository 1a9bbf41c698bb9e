"""What users wish of a job. It takes effect at once when nothing runs, else when what runs has stopped."""

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from core import outbox
from core.errors import Conflict
from core.events import NewEvent, tell
from core.models import JOB_ENDED, Job, JobState, Unit, UnitState
from core.queue import RUN_UNIT
from core.runs.jobs import get_job
from core.runs.lifecycle import QUIETLY, lock, move, settle, start_if_valid


def cancel_job(session: Session, *, project_id: str, job_id: str) -> Job:
    """Wish for a job's end. Conflict when it has succeeded or failed; a cancelled job stays as it is."""
    job = _locked(session, project_id, job_id)
    if job.state is JobState.cancelled or job.cancel_requested:
        return job
    _refuse_ended(job, "cancelled")
    _wish(session, job, cancel_requested=True, pause_requested=False)
    tell(session, job.id, [NewEvent("message", "Cancellation was asked for.", {"cancel_requested": True})])
    settle(session, job)
    return get_job(session, project_id=project_id, job_id=job_id)


def pause_job(session: Session, *, project_id: str, job_id: str) -> Job:
    """Wish that a job stops at a checkpoint until it is resumed. Conflict when it has ended or is ending."""
    job = _locked(session, project_id, job_id)
    if job.state is JobState.paused or job.pause_requested:
        return job
    _refuse_ended(job, "paused")
    if job.cancel_requested:
        raise Conflict(f"{job_id} is being cancelled and cannot be paused", code="job_cancelling")
    _wish(session, job, pause_requested=True)
    tell(session, job.id, [NewEvent("message", "A pause was asked for.", {"pause_requested": True})])
    settle(session, job)
    return get_job(session, project_id=project_id, job_id=job_id)


def resume_job(session: Session, *, project_id: str, job_id: str) -> Job:
    """Let a paused job go on, or take back the wish to pause. Conflict when there is neither."""
    job = _locked(session, project_id, job_id)
    if job.pause_requested:
        _wish(session, job, pause_requested=False)
        tell(session, job.id, [NewEvent("message", "The pause was called off.", {"pause_requested": False})])
    elif job.state is JobState.paused:
        _go_on(session, job)
    else:
        raise Conflict(f"{job_id} is {job.state.value}, not paused", code="job_not_paused")
    return get_job(session, project_id=project_id, job_id=job_id)


def _go_on(session: Session, job: Job) -> None:
    planned = session.scalar(select(Unit.id).where(Unit.job_id == job.id).limit(1))
    if planned is None:
        move(session, job, to=JobState.validating_files, come_from=(JobState.paused,))
        start_if_valid(session, job)
        return
    move(session, job, to=JobState.queued, come_from=(JobState.paused,))
    waiting = (Unit.job_id == job.id, Unit.state == UnitState.pending)
    for unit_id, kind in session.execute(select(Unit.id, Unit.kind).where(*waiting)).all():
        outbox.enqueue(session, task=RUN_UNIT[kind], payload=unit_id)


def _locked(session: Session, project_id: str, job_id: str) -> Job:
    get_job(session, project_id=project_id, job_id=job_id)
    return lock(session, job_id)


def _refuse_ended(job: Job, what: str) -> None:
    if job.state in JOB_ENDED:
        raise Conflict(f"{job.id} has {job.state.value} and cannot be {what} any more", code="job_ended")


def _wish(session: Session, job: Job, **values: bool) -> None:
    session.execute(update(Job).where(Job.id == job.id).values(**values).execution_options(**QUIETLY))
    session.refresh(job)
