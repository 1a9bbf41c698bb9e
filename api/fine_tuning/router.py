"""Fine-tuning jobs: made, listed, and steered."""

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse
from sqlalchemy.orm import Session

from api.deps import CallerDep, OnceDep, SessionDep
from api.fine_tuning.schemas import JobCreate, JobListing, JobObject
from api.schemas import Listed, page_of
from core.models import Device, Job
from core.runs import control, jobs, views

router = APIRouter(prefix="/fine_tuning/jobs", tags=["fine-tuning"])


def render(session: Session, job: Job) -> JobObject:
    """Return one job with what its units tell."""
    return JobObject.of(job, views.describe_jobs(session, [job])[job.id])


@router.post("", response_model=JobObject)
def create(body: JobCreate, session: SessionDep, who: CallerDep, once: OnceDep) -> JSONResponse:
    """Start a job. The answer has the method with every hyperparameter resolved, and the seed."""
    return once(
        session,
        lambda: render(
            session,
            jobs.create_job(
                session,
                project_id=who.project_id,
                model=body.model,
                training_file=body.training_file,
                validation_file=body.validation_file,
                method=body.method,
                seed=body.seed,
                suffix=body.suffix,
                metadata=body.metadata,
                priority=body.priority,
                queue=body.queue,
                device=None if body.device == "auto" else Device(body.device),
                retention=body.retention,
            ),
        ),
    )


@router.get("", response_model=Listed[JobObject])
def list_jobs(session: SessionDep, who: CallerDep, query: Annotated[JobListing, Query()]) -> object:
    """List the project's jobs."""
    page = jobs.list_jobs(
        session,
        project_id=who.project_id,
        after=query.after,
        limit=query.limit,
        metadata=query.metadata,
        states=query.states,
    )
    details = views.describe_jobs(session, page.items)
    return page_of([JobObject.of(job, details[job.id]) for job in page.items], has_more=page.has_more)


@router.get("/{job_id}", response_model=JobObject)
def retrieve(job_id: str, session: SessionDep, who: CallerDep) -> JobObject:
    """Return a job as it stands."""
    return render(session, jobs.get_job(session, project_id=who.project_id, job_id=job_id))


@router.post("/{job_id}/cancel", response_model=JobObject)
def cancel(job_id: str, session: SessionDep, who: CallerDep, once: OnceDep) -> JSONResponse:
    """Ask for the job's end; what runs is stopped within seconds. Checkpoints stay."""
    return once(
        session,
        lambda: render(session, control.cancel_job(session, project_id=who.project_id, job_id=job_id)),
    )


@router.post("/{job_id}/pause", response_model=JobObject)
def pause(job_id: str, session: SessionDep, who: CallerDep, once: OnceDep) -> JSONResponse:
    """Ask the job to write a checkpoint and stop until it is resumed."""
    return once(
        session,
        lambda: render(session, control.pause_job(session, project_id=who.project_id, job_id=job_id)),
    )


@router.post("/{job_id}/resume", response_model=JobObject)
def resume(job_id: str, session: SessionDep, who: CallerDep, once: OnceDep) -> JSONResponse:
    """Let a paused job go on from its last checkpoint."""
    return once(
        session,
        lambda: render(session, control.resume_job(session, project_id=who.project_id, job_id=job_id)),
    )
