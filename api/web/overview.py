"""The first page: what is going on in the project."""

from dataclasses import dataclass

from fastapi import APIRouter, Request
from fastapi.responses import Response
from sqlalchemy.orm import Session

from api.deps import PlatformDep, SessionDep
from api.web.formats import FILTERS
from api.web.links import steady_url
from api.web.pages import VisitorDep, page
from api.web.quotas import quotas_of
from core import projects, registry, shelf, workers
from core.clock import utcnow
from core.first_steps import first_steps
from core.models import UNIT_ENDED, Job
from core.runs import lineup
from core.runs.lineup import AtWork, Line
from core.runs.previews import newest_previews
from core.runs.views import JobDetails
from core.storage.store import ObjectStore

router = APIRouter(include_in_schema=False)

SHOWN = 5
AT_WORK = 4


@dataclass(frozen=True)
class Picture:
    """A preview."""

    url: str
    prompt: str


@dataclass(frozen=True)
class Running:
    """A job that runs: how far it is, what is done for it now, when it ends, and its newest pictures."""

    job: Job
    details: JobDetails
    share: float
    finish: int | None
    units: list[AtWork]
    pictures: list[Picture]
    iteration: int | None


@router.get("/")
def overview(request: Request, session: SessionDep, parts: PlatformDep, who: VisitorDep) -> Response:
    """Show what runs, what waits, what is new, what is left of the quotas, and whether anybody works."""
    found = lineup.line(session, project_id=who.project_id, limit=SHOWN)
    project = projects.get_project(session, project_id=who.project_id)
    return page(
        request,
        "overview.html",
        who=who,
        steps=first_steps(session, project_id=who.project_id),
        running=running_jobs(session, parts.store, found),
        line=found,
        models=registry.list_models(session, project_id=who.project_id, after=None, limit=SHOWN).items,
        datasets=shelf.short_list(session, project_id=who.project_id, limit=SHOWN).items,
        quotas=quotas_of(project, running=len(found.running)),
        seen=workers.seen(session, within=workers.LIVING_SECONDS),
        filters=FILTERS,
        now=utcnow().timestamp(),
    )


def running_jobs(session: Session, store: ObjectStore, found: Line) -> list[Running]:
    """Return the first jobs that run, each with what there is to see of it."""
    jobs = found.active[:AT_WORK]
    previews = newest_previews(session, job_ids=[job.id for job in jobs]) if jobs else {}
    return [
        Running(
            job=job,
            details=found.details[job.id],
            share=share_done(found.details[job.id]),
            finish=(found.details[job.id].estimate or {}).get("finish"),
            units=[each for each in found.running if each.unit.job_id == job.id],
            pictures=[Picture(steady_url(store, each.key), each.prompt) for each in previews.get(job.id, ())],
            iteration=next((each.iteration for each in previews.get(job.id, ())), None),
        )
        for job in jobs
    ]


def share_done(details: JobDetails) -> float:
    """Return how much of a job is done, from 0 to 1: its units, each counting alike."""
    ended = {state.value for state in UNIT_ENDED}
    done = 0.0
    for unit in details.attempts:
        progress = unit["progress"] or {}
        if unit["state"] in ended:
            done += 1
        elif unit["state"] == "running" and progress.get("of"):
            done += min(1.0, progress.get("step", 0) / progress["of"])
    return done / max(1, len(details.attempts))
