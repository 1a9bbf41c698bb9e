"""Datasets: made from a file in the background, then read row by row."""

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse

from api.datasets.schemas import DatasetCreate, DatasetObject, RowListing, RowObject
from api.deps import CallerDep, OnceDep, PlatformDep, SessionDep
from api.schemas import Listed, ListQuery, page_at, page_of
from core import datasets
from core.db import transaction

router = APIRouter(prefix="/datasets", tags=["datasets"])


@router.post("", response_model=DatasetObject)
def create(body: DatasetCreate, session: SessionDep, who: CallerDep, once: OnceDep) -> JSONResponse:
    """Make a dataset's next version from a file. It answers at once; ``status`` tells when it is ready."""
    return once(
        session,
        lambda: DatasetObject.of(
            datasets.create_dataset(session, project_id=who.project_id, name=body.name, file_id=body.file)
        ),
    )


@router.get("", response_model=Listed[DatasetObject])
def list_datasets(session: SessionDep, who: CallerDep, query: ListQuery) -> object:
    """List the project's datasets."""
    page = datasets.list_datasets(session, project_id=who.project_id, after=query.after, limit=query.limit)
    return page_of([DatasetObject.of(dataset) for dataset in page.items], has_more=page.has_more)


@router.get("/{dataset_id}/rows", response_model=Listed[RowObject])
def list_rows(
    dataset_id: str, parts: PlatformDep, who: CallerDep, query: Annotated[RowListing, Query()]
) -> object:
    """List a dataset's rows in their order, with thumbnails."""
    with transaction(parts.database) as session:
        dataset = datasets.get_dataset(session, project_id=who.project_id, dataset_id=dataset_id)
    page = datasets.rows(parts.store, dataset, after=query.after, limit=query.limit)
    data = [RowObject.of(row) for row in page.items]
    return page_at(data, [str(row.index) for row in data], has_more=page.has_more)


@router.get("/{dataset_id}", response_model=DatasetObject)
def retrieve(dataset_id: str, session: SessionDep, who: CallerDep) -> DatasetObject:
    """Return a dataset with its statistics and the rows that were left out."""
    return DatasetObject.of(datasets.get_dataset(session, project_id=who.project_id, dataset_id=dataset_id))
