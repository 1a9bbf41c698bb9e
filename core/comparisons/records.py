"""Comparisons: made, found, listed, deleted."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Select, delete, insert, select, update
from sqlalchemy.orm import Session

from core import drawings, registry
from core.clock import utcnow
from core.comparisons.drawing import ask_more
from core.errors import Conflict, Invalid, NotFound
from core.ids import new_id
from core.models import (
    Ballot,
    Comparison,
    ComparisonModel,
    ComparisonPicture,
    Dataset,
    DatasetPairs,
    DatasetState,
)
from core.paging import Page, page
from core.runs.lifecycle import QUIETLY

UNNAMED = "comparison"


@dataclass(frozen=True)
class Contender:
    """A model by the name that was asked for, and what people may call it here."""

    name: str
    label: str | None = None


@dataclass(frozen=True)
class Question:
    """A prompt, and the seeds that every model draws it with."""

    prompt: str
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Sitting:
    """What all pictures are drawn with; a width and height of None are the model's own."""

    steps: int = 20
    guidance_scale: float = 7.5
    width: int | None = None
    height: int | None = None
    negative_prompt: str | None = None


@dataclass(frozen=True)
class Plan:
    """Who is compared, on what. ``job_id`` and ``iteration``, or ``dataset_id``, tell where that is from."""

    contenders: Sequence[Contender]
    questions: Sequence[Question]
    sitting: Sitting = Sitting()
    name: str | None = None
    job_id: str | None = None
    iteration: int | None = None
    dataset_id: str | None = None


def create_comparison(session: Session, *, project_id: str, plan: Plan) -> Comparison:
    """Make a comparison and ask for its first pictures; core.comparisons.drawing does the rest.

    Raises:
        NotFound: one of the models is not there.
        Invalid: two of them are the same.
    """
    models = _resolved(session, project_id, plan)
    comparison = Comparison(
        id=new_id("cmp-"),
        project_id=project_id,
        name=plan.name or UNNAMED,
        job_id=plan.job_id,
        iteration=plan.iteration,
        dataset_id=plan.dataset_id,
        prompts=[{"prompt": one.prompt, "seeds": list(one.seeds)} for one in plan.questions],
        settings=asdict(plan.sitting),
        total=len(models) * sum(len(one.seeds) for one in plan.questions),
    )
    session.add(comparison)
    session.flush()
    session.add_all(
        ComparisonModel(
            comparison_id=comparison.id, position=place, model_id=model, name=one.name, label=one.label
        )
        for place, (one, model) in enumerate(zip(plan.contenders, models, strict=True))
    )
    cells: list[dict[str, Any]] = [
        {"comparison_id": comparison.id, "model": model, "prompt": prompt}
        for model in range(len(models))
        for prompt in range(len(plan.questions))
    ]
    session.execute(insert(ComparisonPicture), cells)
    session.flush()
    ask_more(session, comparison)
    return comparison


def _resolved(session: Session, project_id: str, plan: Plan) -> list[str]:
    """Return the id of each model as its name stands now; an alias may move, and the comparison does not."""
    found: dict[str, str] = {}
    for place, one in enumerate(plan.contenders):
        param = f"models.{place}" if plan.job_id is None else "iteration"
        meant = registry.resolve_for_use(
            session, project_id=project_id, name=one.name, param=param, settled=True
        )
        model = meant.model_id
        if model in found:
            raise Invalid(
                f"{param}: {one.name} is the same model as {found[model]}; compare different ones",
                param=param,
                code="same_model",
            )
        found[model] = one.name
    return list(found)


def get_comparison(session: Session, *, project_id: str, comparison_id: str) -> Comparison:
    """Return a comparison as it is now; NotFound when it is not the project's, or deleted."""
    found = session.scalar(_mine(project_id, comparison_id).execution_options(populate_existing=True))
    if found is None:
        raise _unknown(comparison_id)
    return found


def lock(session: Session, *, project_id: str, comparison_id: str) -> Comparison:
    """Return a comparison that nobody else votes in, or deletes, until the transaction ends."""
    locked = session.scalar(
        update(Comparison)
        .where(
            Comparison.id == comparison_id,
            Comparison.project_id == project_id,
            Comparison.deleted_at.is_(None),
        )
        .values(votes=Comparison.votes)
        .returning(Comparison.id)
        .execution_options(**QUIETLY)
    )
    if locked is None:
        raise _unknown(comparison_id)
    return get_comparison(session, project_id=project_id, comparison_id=comparison_id)


def list_comparisons(
    session: Session, *, project_id: str, after: str | None, limit: int, job_id: str | None = None
) -> Page[Comparison]:
    """Return the project's comparisons, newest first; those of one job."""
    statement = select(Comparison).where(Comparison.project_id == project_id, Comparison.deleted_at.is_(None))
    if job_id is not None:
        statement = statement.where(Comparison.job_id == job_id)
    return page(session, statement, by=Comparison.id, after=after, limit=limit)


def models_of(session: Session, ids: Sequence[str]) -> dict[str, list[ComparisonModel]]:
    """Return the models of comparisons by their ids, in order."""
    found: dict[str, list[ComparisonModel]] = {each: [] for each in ids}
    rows = select(ComparisonModel).where(ComparisonModel.comparison_id.in_(ids))
    for row in session.scalars(rows.order_by(ComparisonModel.comparison_id, ComparisonModel.position)):
        found[row.comparison_id].append(row)
    return found


def delete_comparison(session: Session, *, project_id: str, comparison_id: str) -> None:
    """Delete a comparison with its votes and pictures. Datasets that were made of its votes stay.

    Raises:
        Conflict: a dataset is being made of it.
    """
    comparison = lock(session, project_id=project_id, comparison_id=comparison_id)
    copying = session.scalar(
        select(Dataset.id)
        .join(DatasetPairs, DatasetPairs.dataset_id == Dataset.id)
        .where(DatasetPairs.comparison_id == comparison_id, Dataset.state == DatasetState.validating)
        .limit(1)
    )
    if copying is not None:
        raise Conflict(
            f"the dataset {copying} is being made of {comparison_id}; wait until it is ready",
            code="comparison_in_use",
        )
    asked = session.scalars(
        select(ComparisonPicture.drawing_id).where(
            ComparisonPicture.comparison_id == comparison_id, ComparisonPicture.drawing_id.is_not(None)
        )
    )
    drawings.let_go(session, [each for each in asked if each is not None])
    for table in (Ballot, ComparisonPicture):
        gone = delete(table).where(table.comparison_id == comparison_id)
        session.execute(gone.execution_options(**QUIETLY))
    comparison.deleted_at = utcnow()
    session.flush()


def _mine(project_id: str, comparison_id: str) -> Select[Comparison]:
    return select(Comparison).where(
        Comparison.id == comparison_id, Comparison.project_id == project_id, Comparison.deleted_at.is_(None)
    )


def _unknown(comparison_id: str) -> NotFound:
    return NotFound(
        f"there is no comparison {comparison_id}", param="comparison_id", code="comparison_not_found"
    )
