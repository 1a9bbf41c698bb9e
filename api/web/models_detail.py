"""One model: what it learned, what is known of it, where it comes from, and what can be done with it."""

from dataclasses import dataclass

from fastapi import APIRouter, Request
from fastapi.responses import Response
from sqlalchemy.orm import Session

from api.deps import PlatformDep, SessionDep
from api.web.links import steady_url
from api.web.markdown import html_of
from api.web.models_downloads import downloads
from api.web.models_metrics import measured
from api.web.pages import VisitorDep, page
from core import datasets, registry
from core.cards.facts import facts_of
from core.cards.markdown import write
from core.lineage.graph import graph_of
from core.models import Checkpoint, Job, Model, ModelKind
from core.registered import lookup, names
from core.runs import jobs, views
from core.storage.store import ObjectStore

router = APIRouter(include_in_schema=False)

PICTURES = 8
NAMES = 50
BASE = -1
PAGES = {
    "dataset": "/datasets/",
    "job": "/jobs/",
    "model": "/models/",
    "checkpoint": "/models/",
    "comparison": "/comparisons/",
}


@dataclass(frozen=True)
class Change:
    """A prompt as the job's beginning draws it, and as this model does."""

    prompt: str
    seed: int
    before: str | None
    after: str


@router.get("/models/{model_id}")
def one_model(
    model_id: str, request: Request, session: SessionDep, parts: PlatformDep, who: VisitorDep
) -> Response:
    """Show a base model, a result, an import or a checkpoint."""
    project = who.project_id
    model = registry.get_model(session, project_id=project, model_id=model_id)
    job = None if model.job_id is None else jobs.get_job(session, project_id=project, job_id=model.job_id)
    iteration = _iteration(session, model, job)
    named = lookup.versions_of(session, [model.id]).get(model.id, [])
    facts = facts_of(session, model)
    card = write(facts, link=lambda shown: steady_url(parts.store, shown.file.key))
    forms = downloads(session, project_id=project, model_id=model.id)
    graph = graph_of(session, project_id=project, model_id=model.id)
    return page(
        request,
        "models/one.html",
        who=who,
        model=model,
        job=job,
        dataset=None
        if job is None
        else datasets.get_dataset(session, project_id=project, dataset_id=job.dataset_id),
        iteration=iteration,
        origin=facts.origin,
        licence=facts.licence,
        named=named,
        changes=_changes(session, parts.store, job, iteration),
        after_word="after" if iteration is None else f"iteration {iteration}",
        measured=[] if facts.training is None else measured(facts.training),
        graph=graph,
        hrefs={node.id: href_of(node.id, node.type) for node in graph.nodes.values()},
        downloads=forms,
        coming=any(one.coming for one in forms),
        card=html_of(card),
        kept=_why_kept(model, named),
        compare_with=f"{model.base_model_id}," if model.base_model_id else "",
        suggested=named[0].partition("@")[0] if named else (job.suffix or "" if job else ""),
        names=[
            row.name for row in names.list_names(session, project_id=project, after=None, limit=NAMES).items
        ],
    )


def _iteration(session: Session, model: Model, job: Job | None) -> int | None:
    """Return which iteration of its job a model is; None: the last, or no job."""
    if job is None or model.kind is not ModelKind.checkpoint:
        return None
    return session.get_one(Checkpoint, model.id).iteration


def _changes(session: Session, store: ObjectStore, job: Job | None, iteration: int | None) -> list[Change]:
    if job is None:
        return []
    samples = views.list_samples(session, project_id=job.project_id, job_id=job.id)
    rounds = [one.iteration for one in samples if one.iteration > BASE]
    shown = max(rounds, default=None) if iteration is None else iteration
    before = {one.index: steady_url(store, one.key) for one in samples if one.iteration == BASE}
    return [
        Change(one.prompt, one.seed, before.get(one.index), steady_url(store, one.key))
        for one in samples
        if one.iteration == shown
    ][:PICTURES]


def _why_kept(model: Model, named: list[str]) -> str | None:
    """Return why a model cannot be deleted."""
    if model.kind is ModelKind.base:
        return "A base model lies in a folder of the host: it goes when the folder goes."
    if model.kind is ModelKind.checkpoint:
        return "A checkpoint goes with its job, or earlier by the job's retention, unless a version names it."
    if named:
        names = "name" if len(named) > 1 else "names"
        return f"It is kept because {' and '.join(named)} {names} it: let that go first."
    return None


def href_of(node_id: str, kind: str) -> str | None:
    """Return the page of a thing in a lineage, if it has one."""
    if kind in ("version", "alias"):
        return f"/models/names/{node_id.partition('@')[0]}"
    return PAGES[kind] + node_id if kind in PAGES else None
