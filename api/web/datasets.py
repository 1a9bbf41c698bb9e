"""Datasets: bringing pictures, and looking at what became of them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from api.deps import PlatformDep, SessionDep
from api.web.pages import VisitorDep, page
from core import datasets, files, projects, shelf, workers
from core.comparisons import records
from core.errors import NotFound
from core.models import Comparison, Dataset, DatasetState, File, UnitKind
from core.runs.capabilities import Need, waits_for

router = APIRouter(include_in_schema=False)

SHOWN = 25
VERSIONS = 20
REFUSED = 20
OTHERS = 50
Place = Annotated[str | None, Query(max_length=200)]


@router.get("/datasets")
def list_page(
    request: Request,
    session: SessionDep,
    parts: PlatformDep,
    who: VisitorDep,
    after: Place = None,
    name: Place = None,
) -> Response:
    """Show the datasets, and where pictures are dropped."""
    wanted = name.strip() if name else None
    found = shelf.short_list(
        session, project_id=who.project_id, after=after, limit=SHOWN, name=wanted or None
    )
    project = projects.get_project(session, project_id=who.project_id)
    left = None if project.max_bytes is None else max(0, project.max_bytes - project.stored_bytes)
    return page(
        request,
        "datasets/list.html",
        who=who,
        datasets=found.items,
        has_more=found.has_more,
        after=after,
        wanted=wanted or "",
        progress=datasets.progress_of(session, found.items),
        most=parts.settings.max_file_bytes,
        left=left,
    )


@dataclass(frozen=True)
class Drawn:
    """A number's least, mean and most, and where they stand on a line 100 long that begins at nothing."""

    name: str
    least: float
    mean: float
    most: float
    unit: str

    def at(self, value: float) -> float:
        """Return where a value stands."""
        return 100 * value / self.most if self.most else 0.0


@router.get("/datasets/{dataset_id}")
def one_page(request: Request, session: SessionDep, who: VisitorDep, dataset_id: str) -> Response:
    """Show one dataset: how far it is, what was refused, what is in it, what was made of it."""
    dataset = datasets.get_dataset(session, project_id=who.project_id, dataset_id=dataset_id)
    validating = dataset.state is DatasetState.validating
    nodes = workers.living(session) if validating else []
    versions = shelf.short_list(
        session, project_id=who.project_id, limit=VERSIONS + 1, name=dataset.name
    ).items
    return page(
        request,
        "datasets/one.html",
        who=who,
        dataset=dataset,
        statistics=dataset.statistics or {},
        progress=datasets.progress_of(session, [dataset]).get(dataset.id),
        lacks=waits_for([Need(UnitKind.ingest)], nodes) if validating else None,
        file=_file(session, who.project_id, dataset),
        votes=_votes(session, who.project_id, dataset),
        refused=(dataset.rejected or [])[:REFUSED],
        refused_count=refused_count(dataset),
        spans=spans_of(dataset.statistics or {}),
        versions=versions[:VERSIONS],
        more_versions=len(versions) > VERSIONS,
        jobs=shelf.jobs_on(session, project_id=who.project_id, dataset_id=dataset.id, limit=5),
        others=_others(session, who.project_id, dataset) if dataset.state is DatasetState.ready else [],
    )


def refused_count(dataset: Dataset) -> int:
    """Return how many rows were left out, as far as it was counted."""
    listed = len(dataset.rejected or [])
    return max(listed, int((dataset.statistics or {}).get("rejected", 0)))


def spans_of(statistics: dict[str, Any]) -> list[Drawn]:
    """Return the numbers that are drawn as lines."""
    wanted = (
        ("Width", "width", "pixels"),
        ("Height", "height", "pixels"),
        ("Aspect", "aspect", "width to height"),
        ("Caption", "caption_characters", "characters"),
    )
    return [
        Drawn(name, span["min"], span["mean"], span["max"], unit)
        for name, key, unit in wanted
        if (span := statistics.get(key)) and span["max"] is not None
    ]


def _file(session: SessionDep, project_id: str, dataset: Dataset) -> File | None:
    try:
        return files.get_file(session, project_id=project_id, file_id=dataset.file_id)
    except NotFound:
        return None


def _votes(session: SessionDep, project_id: str, dataset: Dataset) -> Comparison | None:
    """Return the comparison whose votes chose the pictures, if it is still there."""
    if dataset.comparison_id is None:
        return None
    try:
        return records.get_comparison(session, project_id=project_id, comparison_id=dataset.comparison_id)
    except NotFound:
        return None


def _others(session: SessionDep, project_id: str, dataset: Dataset) -> Iterable[Dataset]:
    """Return what it can be compared with: the newest ones, its other part before all."""
    found = shelf.short_list(session, project_id=project_id, limit=OTHERS).items
    ready = [each for each in found if each.state is DatasetState.ready and each.id != dataset.id]
    return sorted(ready, key=lambda each: each.id != dataset.sibling_id)
