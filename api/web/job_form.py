"""The form of a new job: made from the engine's own types, filled from an earlier job where one is copied."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from api.deps import SessionDep
from api.fine_tuning.schemas import JobCreate
from api.web.models_choice import LABELS, Choices, choices
from api.web.pages import Visitor, VisitorDep, page
from core import datasets, offers, registry
from core.errors import NotFound
from core.models import Dataset, DatasetState, Job, ModelKind
from core.runs import jobs
from core.runs.retention import Retention
from spin_engine.config import METHODS

router = APIRouter(include_in_schema=False)

OFFERED = 60
"""Models and datasets that are listed; any other is named by its id."""
HELP = {
    **{name: field.description for name, field in JobCreate.model_fields.items()},
    **{f"retention.{name}": field.description for name, field in Retention.model_fields.items()},
}
COPIED = ("seed", "suffix", "priority", "queue")


class FormView(BaseModel):
    """What the form begins with."""

    model_config = ConfigDict(frozen=True)

    model: str | None = Field(None, max_length=200)
    dataset: str | None = Field(None, max_length=200)
    copied: str | None = Field(None, alias="from", max_length=200)
    method: str | None = Field(None, max_length=20)
    preset: str | None = Field(None, max_length=20)


@dataclass(frozen=True)
class Beginning:
    """What stands in the form at first.

    Attributes:
        model: the name of one.
        dataset: id of one; None: there is none.
        validation: likewise.
        kind: the method.
        preset: a name; empty where settings of an earlier job are taken.
        values: hyperparameters by name; the others are as recommended.
        fields: the other fields by name.
    """

    model: str
    dataset: str | None
    validation: str | None
    kind: str
    preset: str
    values: dict[str, Any]
    fields: dict[str, Any]


@router.get("/jobs/new")
def job_form(
    request: Request, session: SessionDep, who: VisitorDep, view: Annotated[FormView, Query()]
) -> Response:
    """Show the form."""
    copied = (
        None if view.copied is None else jobs.get_job(session, project_id=who.project_id, job_id=view.copied)
    )
    models = choices(session, project_id=who.project_id)
    data = _datasets(session, who)
    name = view.model or (copied and copied.model_id) or _first_base(models)
    recommended, unknown = _recommended(session, who, name)
    kind = view.method or (copied and copied.method["type"]) or "spin"
    offer = offers.offer(kind if kind in METHODS else "spin", recommended)
    beginning = _beginning(session, who, view, copied, offer, name, data)
    return page(
        request,
        "jobs/new.html",
        who=who,
        models=models,
        datasets=_with_chosen(session, who, data, beginning),
        offer=offer,
        methods=[(kind, offers.TITLES[kind]) for kind in METHODS],
        begin=beginning,
        unknown=unknown,
        copied=copied,
        help=HELP,
    )


def _first_base(models: Choices) -> str:
    """Return the base model that the form begins with."""
    bases = [group.names[0] for group in models.groups if group.label == LABELS[ModelKind.base]]
    return bases[0] if bases else ""


def _datasets(session: Session, who: Visitor) -> list[Dataset]:
    found = datasets.list_datasets(session, project_id=who.project_id, after=None, limit=OFFERED)
    return [dataset for dataset in found.items if dataset.state is not DatasetState.failed]


def _recommended(session: Session, who: Visitor, name: str) -> tuple[dict[str, Any] | None, str]:
    """Return what a model recommends, and what is wrong with its name."""
    if not name:
        return None, ""
    try:
        return registry.get_model(session, project_id=who.project_id, model_id=name).defaults, ""
    except NotFound as error:
        return None, error.message


def _beginning(
    session: Session,
    who: Visitor,
    view: FormView,
    copied: Job | None,
    offer: offers.Offer,
    model: str,
    data: Sequence[Dataset],
) -> Beginning:
    own = copied is not None and offer.type == copied.method["type"] and view.preset is None
    chosen = offers.preset(offer, view.preset or "")
    values = chosen.hyperparameters
    fields: dict[str, Any] = {}
    if copied is not None:
        fields = {name: getattr(copied, name) for name in COPIED}
        fields |= {f"retention.{name}": value for name, value in (copied.retention or {}).items()}
        if own:
            given = copied.method[offer.type]["hyperparameters"]
            values = {
                each.name: given[each.name]
                for each in offer.settings
                if given.get(each.name) != each.recommended
            }
    training = view.dataset or (copied and copied.dataset_id) or _newest(data)
    held_out = copied.validation_dataset_id if copied is not None and view.dataset is None else None
    return Beginning(
        model=model,
        dataset=training,
        validation=held_out or _sibling(session, who, training),
        kind=offer.type,
        preset="" if own else chosen.name,
        values=values,
        fields=fields,
    )


def _newest(data: Sequence[Dataset]) -> str | None:
    """Return the newest dataset that is to be trained on."""
    return next((each.id for each in data if each.part != "validation"), None)


def _sibling(session: Session, who: Visitor, dataset_id: str | None) -> str | None:
    """Return what was held out when a dataset was split."""
    if dataset_id is None:
        return None
    try:
        return datasets.get_dataset(session, project_id=who.project_id, dataset_id=dataset_id).sibling_id
    except NotFound:
        return None


def _with_chosen(
    session: Session, who: Visitor, data: Sequence[Dataset], beginning: Beginning
) -> list[Dataset]:
    """Return the datasets to choose from, with those that stand in the form already."""
    listed = {each.id: each for each in data}
    for chosen in (beginning.dataset, beginning.validation):
        if chosen is not None and chosen not in listed:
            listed[chosen] = datasets.get_dataset(session, project_id=who.project_id, dataset_id=chosen)
    return list(listed.values())
