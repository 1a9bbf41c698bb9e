"""What projects may use, have reserved and have used. A project's row is locked last: after job and unit."""

from collections import defaultdict
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, case, or_, select, update
from sqlalchemy.orm import Session

from core.clock import utcnow
from core.errors import NotFound, TooMany
from core.methods import hyperparameters_of
from core.models import Attempt, Device, Job, JobState, Project, Unit
from core.runs.shares import served

QUIETLY = {"synchronize_session": False}
LOOK_BACK = 100
SECONDS_A_STEP = 1.0  # of a base model that this project has never trained


def expected_seconds(session: Session, job: Job) -> float | None:
    """Return what a new job will take, by what the project's last ones on its base took for each step."""
    last = (
        select(Job.id, Job.state, Job.base_model_id)
        .where(Job.project_id == job.project_id, Job.id < job.id)
        .order_by(Job.id.desc())
        .limit(LOOK_BACK)
        .subquery()
    )
    alike = (
        select(Job)
        .join(last, last.c.id == Job.id)
        .where(last.c.state == JobState.succeeded, last.c.base_model_id == job.base_model_id)
        .order_by(Job.id.desc())
        .limit(5)
    )
    seconds = steps = 0.0
    for before in session.scalars(alike):
        took = ((before.estimate or {}).get("actual") or {}).get("seconds")
        if took:
            seconds, steps = seconds + took, steps + _steps(before)
    return _steps(job) * seconds / steps if steps else None


def _steps(job: Job) -> int:
    asked = hyperparameters_of(job.method)
    return sum(asked.for_iteration(iteration).steps for iteration in asked.iterations)


def open_account(session: Session, job: Job) -> None:
    """Count a new job among its project's open ones, and reserve the GPU seconds that it is thought to take.

    Raises:
        TooMany: the project's limits do not allow it; nothing was reserved.
    """
    expected = expected_seconds(session, job)
    if expected is not None:
        job.estimate = {"seconds": round(expected, 1)}
    wanted = gpu_seconds_wanted(job, expected)
    job.reserved_gpu_seconds = wanted
    after = Project.gpu_seconds_used + Project.gpu_seconds_reserved + wanted
    reserved = session.scalar(
        update(Project)
        .where(
            Project.id == job.project_id,
            or_(Project.max_jobs.is_(None), Project.open_jobs < Project.max_jobs),
            or_(Project.gpu_seconds_limit.is_(None), after <= Project.gpu_seconds_limit),
        )
        .values(open_jobs=Project.open_jobs + 1, gpu_seconds_reserved=Project.gpu_seconds_reserved + wanted)
        .returning(Project.id)
        .execution_options(**QUIETLY)
    )
    if reserved is None:
        raise _refusal(session, job.project_id, wanted)


def gpu_seconds_wanted(job: Job, expected: float | None) -> float:
    """Return the GPU seconds that a new job reserves, given what it is thought to take if that is known."""
    if job.device is not Device.gpu:
        return 0.0
    return round(_steps(job) * SECONDS_A_STEP if expected is None else expected, 1)


def refusal_of(session: Session, project_id: str, *, wanted: float) -> str | None:
    """Say why a project may not have a job of so many GPU seconds now; None: it may. Reserves nothing."""
    project = session.get_one(Project, project_id, populate_existing=True)
    full = project.max_jobs is not None and project.open_jobs >= project.max_jobs
    after = project.gpu_seconds_used + project.gpu_seconds_reserved + wanted
    spent = project.gpu_seconds_limit is not None and after > project.gpu_seconds_limit
    return _refusal(session, project_id, wanted).message if full or spent else None


def _refusal(session: Session, project_id: str, wanted: float) -> TooMany | NotFound:
    project = session.get(Project, project_id, populate_existing=True)
    if project is None:
        return NotFound(f"there is no project {project_id}")
    if project.max_jobs is not None and project.open_jobs >= project.max_jobs:
        return TooMany(
            f"the project has {project.open_jobs} open jobs and may have {project.max_jobs}: "
            "wait for one to end, or cancel one",
            code="too_many_jobs",
        )
    return TooMany(
        f"the job is thought to take {wanted:.0f} GPU seconds; of the project's "
        f"{project.gpu_seconds_limit:.0f}, {project.gpu_seconds_used:.0f} are used and "
        f"{project.gpu_seconds_reserved:.0f} are reserved by open jobs",
        code="gpu_seconds_exceeded",
    )


def close_account(session: Session, job: Job) -> None:
    """Take an ended job from its project's open ones, and replace what it had reserved by what it used.

    A job that older code made has reserved nothing, and was not counted.
    """
    reserved = session.scalar(select(Job.reserved_gpu_seconds).where(Job.id == job.id))
    if reserved is None:
        return
    session.execute(
        update(Job).where(Job.id == job.id).values(reserved_gpu_seconds=None).execution_options(**QUIETLY)
    )
    left = Project.gpu_seconds_reserved - reserved
    session.execute(
        update(Project)
        .where(Project.id == job.project_id)
        .values(
            open_jobs=Project.open_jobs - 1,
            # What is left of adding and taking away fractions is not a reservation.
            gpu_seconds_reserved=_none_below(left, 0.05),
            gpu_seconds_used=Project.gpu_seconds_used + gpu_seconds(session, job.id),
        )
        .execution_options(**QUIETLY)
    )


def _none_below(value: ColumnElement[float], least: float) -> Any:
    return case((value < least, 0.0), else_=value)


def gpu_seconds(session: Session, job_id: str) -> float:
    """Return the GPU seconds of a job's attempts that have ended."""
    rows = session.execute(
        select(Attempt.gpus, Attempt.started_at, Attempt.ended_at)
        .join(Unit, Unit.id == Attempt.unit_id)
        .where(Unit.job_id == job_id, Attempt.gpus > 0, Attempt.ended_at.is_not(None))
    )
    return sum((gpus * _seconds(began, ended) for gpus, began, ended in rows if ended is not None), 0.0)


def close_attempt(
    session: Session, unit_id: str, fence: int, *, outcome: str, message: str | None = None
) -> None:
    """Note how an attempt ended, and that its project was served."""
    which = (Attempt.unit_id == unit_id, Attempt.fence == fence)
    close_attempts(session, *which, outcome=outcome, message=message)


def close_attempts(
    session: Session, *which: ColumnElement[bool], outcome: str, message: str | None = None
) -> None:
    """The same for all attempts of which something holds."""
    now = utcnow()
    ended = session.execute(
        update(Attempt)
        .where(*which, Attempt.ended_at.is_(None))
        .values(ended_at=now, outcome=outcome, message=message)
        .returning(Attempt.unit_id, Attempt.started_at)
        .execution_options(**QUIETLY)
    ).all()
    if not ended:
        return
    projects = dict(
        session.execute(
            select(Unit.id, Unit.project_id).where(Unit.id.in_([row.unit_id for row in ended]))
        ).all()
    )
    used: dict[str, float] = defaultdict(float)
    for row in ended:
        project_id = projects[row.unit_id]
        if project_id is not None:
            used[project_id] += _seconds(row.started_at, now)
    for project_id in sorted(used):
        _serve(session, project_id, seconds=used[project_id], at=now)


def _serve(session: Session, project_id: str, *, seconds: float, at: datetime) -> None:
    mine = Project.id == project_id
    share = session.scalar(
        update(Project)
        .where(mine)
        .values(share=Project.share)
        .returning(Project.share)
        .execution_options(**QUIETLY)
    )
    session.execute(
        update(Project)
        .where(mine)
        .values(share=served(share, seconds=seconds, at=at.timestamp()))
        .execution_options(**QUIETLY)
    )


def _seconds(started: datetime, ended: datetime) -> float:
    return max(0.0, (ended - started).total_seconds())
