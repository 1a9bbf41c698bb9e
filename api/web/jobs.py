"""Jobs: the list, and the page of one, which lives while it runs."""

from collections.abc import Sequence
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from api.deps import SessionDep
from api.web import job_words
from api.web.pages import VisitorDep, page
from core import offers
from core.models import JOB_ENDED, JobState, Model
from core.report.chart import iteration_chart, line_chart, spanned
from core.report.collect import facts_of
from core.report.measures import measures_of
from core.report.verdict import DOUBT, judge
from core.runs import jobs, views
from core.runs.retention import policy_of

router = APIRouter(include_in_schema=False)

SHOWN = 25
EVENTS = 40
CHECKPOINTS = 12
OPEN = tuple(state for state in JobState if state not in JOB_ENDED)
Filter = Literal[
    "open", "validating_files", "queued", "running", "paused", "succeeded", "failed", "cancelled"
]
FILTERS: tuple[Filter, ...] = ("open", "running", "queued", "paused", "succeeded", "failed", "cancelled")


class ListView(BaseModel):
    """What of the list is looked at."""

    model_config = ConfigDict(frozen=True)

    state: Filter | None = None
    after: str | None = Field(None, max_length=200)


def states_of(chosen: Filter | None) -> Sequence[JobState]:
    """Return the states that a filter lets through; none: all."""
    if chosen is None:
        return ()
    return OPEN if chosen == "open" else (JobState(chosen),)


@router.get("/jobs")
def job_list(
    request: Request, session: SessionDep, who: VisitorDep, view: Annotated[ListView, Query()]
) -> Response:
    """Show the project's jobs, newest first."""
    found = jobs.list_jobs(
        session,
        project_id=who.project_id,
        after=view.after,
        limit=SHOWN,
        states=states_of(view.state),
    )
    counted = jobs.count_by_state(session, project_id=who.project_id)
    filters: list[tuple[Filter | None, str, int]] = [(None, "All", sum(counted.values()))]
    filters += [
        (name, job_words.capital(name), sum(counted.get(state, 0) for state in states_of(name)))
        for name in FILTERS
    ]
    return page(
        request,
        "jobs/list.html",
        who=who,
        view=view,
        filters=filters,
        jobs=found.items,
        details=views.describe_jobs(session, found.items),
        has_more=found.has_more,
        titles=offers.TITLES,
        words=job_words,
    )


@router.get("/jobs/{job_id}")
def job_page(request: Request, session: SessionDep, who: VisitorDep, job_id: str) -> Response:
    """Show a job: its pictures, its numbers, who works on it, and what can be done."""
    job = jobs.get_job(session, project_id=who.project_id, job_id=job_id)
    details = views.describe_jobs(session, [job])[job.id]
    facts = facts_of(session, job)
    kind = job.method["type"]
    base = session.get(Model, job.base_model_id)
    checkpoints = views.list_checkpoints(session, project_id=who.project_id, job_id=job.id, limit=CHECKPOINTS)
    return page(
        request,
        "jobs/show.html",
        who=who,
        job=job,
        kind=kind,
        details=details,
        facts=facts,
        verdict=judge(facts),
        doubt=DOUBT,
        measures=measures_of(facts.columns),
        events=views.newest_events(session, job_id=job.id, limit=EVENTS),
        checkpoints=checkpoints,
        offer=offers.offer(kind, base.defaults if base is not None else None),
        chosen=job.method[kind]["hyperparameters"],
        retention=policy_of(session, job),
        stages=job_words.stages(details.attempts),
        now=job_words.doing(job, details),
        words=job_words,
        draw=Drawn(),
    )


class Drawn:
    """What a template draws charts with."""

    lines = staticmethod(line_chart)
    by_iteration = staticmethod(iteration_chart)
    spanned = staticmethod(spanned)
