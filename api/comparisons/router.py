"""Blind comparisons: models on the same prompts, ballots without names, and what the votes say."""

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse
from sqlalchemy.orm import Session

from api.comparisons.answers import ComparisonObject, PictureObject, PromptPictures
from api.comparisons.schemas import (
    ComparisonCreate,
    ComparisonListing,
    ComparisonQuery,
    PairsCreate,
    PictureListing,
)
from api.datasets.schemas import DatasetObject
from api.deps import CallerDep, OnceDep, Platform, PlatformDep, SessionDep
from api.schemas import Deleted, Listed, page_at, page_of
from core import datasets
from core.comparisons import iterations, pairs, records
from core.comparisons.pictures import pictures_of
from core.comparisons.prompts import prompts_of
from core.comparisons.records import Contender, Plan, Sitting
from core.comparisons.results import results
from core.db import transaction
from core.errors import Conflict
from core.keys import Caller

router = APIRouter(prefix="/comparisons", tags=["comparisons"])

ONE = "/{comparison_id}"
LINK_SECONDS = 3600


@router.post("", response_model=ComparisonObject)
def create(body: ComparisonCreate, parts: PlatformDep, who: CallerDep, once: OnceDep) -> JSONResponse:
    """Compare models blindly. It answers at once; pictures are drawn when nobody waits for others.

    `{"job": ..., "iteration": k}` compares iteration k of a job with k-1, on what the job previews.
    """
    prompts = body.prompts if body.dataset is None else _captions(parts, who, body)
    with transaction(parts.database) as session:
        return once(session, lambda: _made(session, who, body, prompts))


def _captions(parts: Platform, who: Caller, body: ComparisonCreate) -> list[str]:
    """Read prompts out of the dataset; holds no session meanwhile."""
    assert body.dataset is not None
    with transaction(parts.database) as session:
        dataset = datasets.get_dataset(session, project_id=who.project_id, dataset_id=body.dataset)
    return prompts_of(parts.store, dataset, count=body.prompts_from)


def _made(
    session: Session, who: Caller, body: ComparisonCreate, prompts: list[str] | None
) -> ComparisonObject:
    if body.job is None:
        assert body.models is not None
        assert prompts is not None
        plan = Plan(
            contenders=[Contender(name) for name in body.models],
            questions=body.questions(prompts),
            sitting=body.sitting(Sitting()),
            name=body.name,
            dataset_id=body.dataset,
        )
    else:
        plan = _of_job(session, who, body, prompts)
    row = records.create_comparison(session, project_id=who.project_id, plan=plan)
    return ComparisonObject.of(row, records.models_of(session, [row.id])[row.id])


def _of_job(session: Session, who: Caller, body: ComparisonCreate, prompts: list[str] | None) -> Plan:
    """Return an iteration of a job against the one before it, on its previews if nothing else is asked."""
    assert body.job is not None
    found = iterations.round_of(session, project_id=who.project_id, job_id=body.job, iteration=body.iteration)
    questions = None if prompts is None else body.questions(prompts)
    if questions is None:
        questions = iterations.previewed(session, job=found.job)
        if not questions:
            raise Conflict(
                f"{body.job} has no previews yet: give prompts, or ask again when its base is evaluated",
                code="no_previews",
            )
        if body.seeds is not None:
            questions = body.questions([each.prompt for each in questions])
    return Plan(
        contenders=found.contenders,
        questions=questions,
        sitting=body.sitting(found.sitting),
        name=body.name or f"{found.contenders[1].label} against {found.contenders[0].label}",
        job_id=found.job.id,
        iteration=found.iteration,
        dataset_id=body.dataset,
    )


@router.get("", response_model=Listed[ComparisonObject])
def list_comparisons(
    session: SessionDep, who: CallerDep, query: Annotated[ComparisonListing, Query()]
) -> object:
    """List the project's comparisons, without what their votes say."""
    page = records.list_comparisons(
        session, project_id=who.project_id, after=query.after, limit=query.limit, job_id=query.job
    )
    models = records.models_of(session, [row.id for row in page.items])
    data = [ComparisonObject.of(row, models[row.id]) for row in page.items]
    return page_of(data, has_more=page.has_more)


@router.get(ONE, response_model=ComparisonObject)
def retrieve(
    comparison_id: str, session: SessionDep, who: CallerDep, query: Annotated[ComparisonQuery, Query()]
) -> ComparisonObject:
    """Return a comparison: how far it is drawn, and what its votes say so far."""
    row = records.get_comparison(session, project_id=who.project_id, comparison_id=comparison_id)
    models = records.models_of(session, [row.id])[row.id]
    found = results(session, row, models=len(models)) if query.reveal else None
    return ComparisonObject.of(row, models, found)


@router.delete(ONE, response_model=Deleted)
def delete(comparison_id: str, session: SessionDep, who: CallerDep) -> Deleted:
    """Delete a comparison with its votes and pictures. Datasets that were made of its votes stay."""
    records.delete_comparison(session, project_id=who.project_id, comparison_id=comparison_id)
    return Deleted(id=comparison_id, object="comparison.deleted")


@router.get(f"{ONE}/pictures", response_model=Listed[PromptPictures])
def list_pictures(
    comparison_id: str, parts: PlatformDep, who: CallerDep, query: Annotated[PictureListing, Query()]
) -> object:
    """List what each model drew, prompt by prompt: for who has voted, or does not."""
    with transaction(parts.database) as session:
        row = records.get_comparison(session, project_id=who.project_id, comparison_id=comparison_id)
        ids = [each.model_id for each in records.models_of(session, [row.id])[row.id]]
        start = 0 if query.after is None else query.after + 1
        page = pictures_of(session, row, start=start, limit=query.limit)
    data = [
        PromptPictures(
            index=each.prompt,
            prompt=row.prompts[each.prompt]["prompt"],
            pictures=[
                PictureObject(
                    model=ids[one.model],
                    seed=one.seed,
                    url=parts.store.signed_url(one.key, LINK_SECONDS),
                )
                for one in each.pictures
            ],
        )
        for each in page.items
    ]
    return page_at(data, [str(each.index) for each in data], has_more=page.has_more)


@router.post(f"{ONE}/datasets", response_model=DatasetObject)
def create_dataset(
    comparison_id: str, body: PairsCreate, session: SessionDep, who: CallerDep, once: OnceDep
) -> JSONResponse:
    """Make a dataset of winners and losers from the votes there are now: what `dpo` and others train on.

    A worker copies the pictures, and then it is the dataset's own: later votes do not change it.
    """
    return once(
        session,
        lambda: DatasetObject.of(
            pairs.create_dataset(
                session,
                project_id=who.project_id,
                comparison_id=comparison_id,
                name=body.name,
                agreed=body.agreed,
                options=body.options(),
            )
        ),
    )
