"""Blind comparisons: listed, asked for, voted on; what votes say is told by comparisons_results."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from api.deps import SessionDep
from api.web.models_choice import choices
from api.web.pages import VisitorDep, VoterDep, page
from core import datasets
from core.comparisons import ballots, records
from core.models import ComparisonModel, DatasetState
from core.registry import CHECKPOINT
from core.runs import jobs

router = APIRouter(include_in_schema=False)

SHOWN = 25
SHORT = 6
FEWEST, MOST = 2, 6
DATASETS = 50
Text = Annotated[str | None, Query(max_length=2000)]


@router.get("/comparisons")
def listed(request: Request, session: SessionDep, who: VisitorDep, after: Text = None) -> Response:
    """Show the project's comparisons, the newest first."""
    found = records.list_comparisons(session, project_id=who.project_id, after=after, limit=SHOWN)
    models = records.models_of(session, [row.id for row in found.items])
    return page(request, "comparisons/list.html", who=who, found=found, models=models, called=called)


@router.get("/comparisons/new")
def new(
    request: Request,
    session: SessionDep,
    who: VisitorDep,
    models: Text = None,
    job: Text = None,
    iteration: Annotated[int | None, Query(ge=-1, le=1000)] = None,
    dataset: Text = None,
) -> Response:
    """Ask which models are compared, on what; with a job, which of its iterations."""
    given = [name for name in (models or "").split(",") if name][:MOST]
    newest = datasets.list_datasets(session, project_id=who.project_id, after=None, limit=DATASETS)
    return page(
        request,
        "comparisons/new.html",
        who=who,
        job=None if job is None else jobs.get_job(session, project_id=who.project_id, job_id=job),
        iteration=iteration,
        models=choices(session, project_id=who.project_id),
        chosen=given + [""] * max(0, FEWEST - len(given)),
        most=MOST,
        datasets=[one for one in newest.items if one.state is DatasetState.ready],
        dataset=dataset,
    )


@router.get("/comparisons/{comparison_id}/vote")
def vote(comparison_id: str, request: Request, session: SessionDep, who: VoterDep) -> Response:
    """Show two pictures at a time, with nothing that tells who drew them."""
    row = records.get_comparison(session, project_id=who.project_id, comparison_id=comparison_id)
    different, _ = ballots.items_of(session, row)
    return page(request, "comparisons/vote.html", who=who, comparison=row, pairs=len(different))


def called(model: ComparisonModel) -> str:
    """Return what a model is called here: checkpoints, whose ids are long, by the end of theirs."""
    if model.label is None and model.name.startswith(CHECKPOINT):
        return f"{CHECKPOINT}…{model.name[-SHORT:]}"
    return model.label or model.name
