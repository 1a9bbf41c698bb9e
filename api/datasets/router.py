"""Datasets: made from a file in the background, then read row by row."""

import csv
import io
from collections.abc import Iterable, Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from api.datasets.schemas import (
    Comparison,
    DatasetCreate,
    DatasetListing,
    DatasetObject,
    OverlapObject,
    PictureQuery,
    RejectedObject,
    RowListing,
    RowObject,
)
from api.deps import CallerDep, OnceDep, PlatformDep, SessionDep
from api.ranges import is_known
from api.schemas import Deleted, Listed, page_at, page_of
from api.streams import attachment
from core import contents, datasets, shelf
from core.db import transaction

router = APIRouter(prefix="/datasets", tags=["datasets"])
KINDS = {"png": "image/png", "jpg": "image/jpeg", "webp": "image/webp"}
FORMULA = ("=", "+", "-", "@", "\t", "\r")
PICTURE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The picture's file.",
        "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in KINDS.values()},
    },
    304: {"description": "What `If-None-Match` names is still what there is."},
}
TABLE: dict[int | str, dict[str, Any]] = {
    200: {"description": "A line a row.", "content": {"text/csv": {"schema": {"type": "string"}}}}
}


@router.post("", response_model=DatasetObject)
def create(body: DatasetCreate, session: SessionDep, who: CallerDep, once: OnceDep) -> JSONResponse:
    """Make a dataset's next version from a file. It answers at once; ``status`` tells when it is ready.

    With ``split`` two are made: the answer is the training part, whose ``sibling`` is the one held out.
    """
    return once(
        session,
        lambda: DatasetObject.of(
            datasets.create_dataset(
                session,
                project_id=who.project_id,
                name=body.name,
                file_id=body.file,
                options=body.options(),
            )
        ),
    )


@router.get("", response_model=Listed[DatasetObject])
def list_datasets(session: SessionDep, who: CallerDep, query: Annotated[DatasetListing, Query()]) -> object:
    """List the project's datasets, or the versions of one name."""
    page = datasets.list_datasets(
        session, project_id=who.project_id, after=query.after, limit=query.limit, name=query.name
    )
    progress = datasets.progress_of(session, page.items)
    data = [DatasetObject.of(dataset, progress.get(dataset.id)) for dataset in page.items]
    return page_of(data, has_more=page.has_more)


@router.get("/{dataset_id}/rows", response_model=Listed[RowObject])
def list_rows(
    dataset_id: str, parts: PlatformDep, who: CallerDep, query: Annotated[RowListing, Query()]
) -> object:
    """List a dataset's rows in their order, with thumbnails."""
    with transaction(parts.database) as session:
        dataset = datasets.get_dataset(session, project_id=who.project_id, dataset_id=dataset_id)
    page = contents.rows(parts.store, dataset, after=query.after, limit=query.limit)
    data = [RowObject.of(row) for row in page.items]
    return page_at(data, [str(row.index) for row in data], has_more=page.has_more)


@router.get("/{dataset_id}/rows/{index}/content", response_class=Response, responses=PICTURE)
def picture(
    dataset_id: str,
    index: Annotated[int, Path(ge=0, lt=2**31)],
    request: Request,
    parts: PlatformDep,
    who: CallerDep,
    query: Annotated[PictureQuery, Query()],
) -> Response:
    """Return a row's picture: the file that training reads. A dataset never changes, so it may be kept."""
    with transaction(parts.database) as session:
        dataset = datasets.get_dataset(session, project_id=who.project_id, dataset_id=dataset_id)
    etag = f'"{dataset.sha256}-{index}-{int(query.loser)}"'
    headers = {"ETag": etag, "Cache-Control": "private, max-age=86400", "X-Content-Type-Options": "nosniff"}
    if is_known(request.headers, etag):
        return Response(status_code=304, headers=headers)
    shown = contents.picture(parts.store, dataset, index=index, loser=query.loser)
    with parts.store.open(shown.key, start=shown.place.start, length=shown.place.length) as stream:
        data = stream.read()
    return Response(data, media_type=KINDS[shown.place.format], headers=headers)


@router.get("/{dataset_id}/rejected/content", response_class=StreamingResponse, responses=TABLE)
def rejected_table(dataset_id: str, parts: PlatformDep, who: CallerDep) -> Response:
    """Return every row that was left out as CSV: file, row, reason."""
    with transaction(parts.database) as session:
        dataset = datasets.get_dataset(session, project_id=who.project_id, dataset_id=dataset_id)
    contents.rejected(parts.store, dataset, after=None, limit=1)  # refuses while it is being validated
    name = f"{dataset.name}-{dataset.version}-rejected.csv"
    return StreamingResponse(
        _lines(contents.all_rejected(parts.store, dataset)),
        media_type="text/csv",
        headers={"Content-Disposition": attachment(name), "X-Content-Type-Options": "nosniff"},
    )


def _lines(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Yield lines of CSV; a name that a spreadsheet would run as a formula is quoted for it."""
    yield "file,row,reason\r\n"
    for row in rows:
        sink = io.StringIO()
        file = f"'{row['file']}" if row["file"].startswith(FORMULA) else row["file"]
        csv.writer(sink).writerow([file, row["row"], row["reason"]])
        yield sink.getvalue()


@router.get("/{dataset_id}/rejected", response_model=Listed[RejectedObject])
def list_rejected(
    dataset_id: str, parts: PlatformDep, who: CallerDep, query: Annotated[RowListing, Query()]
) -> object:
    """List every row that was left out, with the reason, in the order of the file."""
    with transaction(parts.database) as session:
        dataset = datasets.get_dataset(session, project_id=who.project_id, dataset_id=dataset_id)
    page = contents.rejected(parts.store, dataset, after=query.after, limit=query.limit)
    data = [RejectedObject(index=index, **row) for index, row in page.items]
    return page_at(data, [str(row.index) for row in data], has_more=page.has_more)


@router.get("/{dataset_id}/overlap", response_model=OverlapObject)
def compare(
    dataset_id: str, parts: PlatformDep, who: CallerDep, query: Annotated[Comparison, Query()]
) -> OverlapObject:
    """Tell which of a dataset's pictures are in another one too, or look like one there.

    Ask it of a validation dataset and the training dataset: what both have measures memory, not learning.
    """
    with transaction(parts.database) as session:
        dataset, other = (
            datasets.get_dataset(session, project_id=who.project_id, dataset_id=each)
            for each in (dataset_id, query.other)
        )
    return OverlapObject.of(dataset.id, other.id, contents.overlap(parts.store, dataset, other))


@router.get("/{dataset_id}", response_model=DatasetObject)
def retrieve(dataset_id: str, session: SessionDep, who: CallerDep) -> DatasetObject:
    """Return a dataset with its statistics and the rows that were left out."""
    dataset = datasets.get_dataset(session, project_id=who.project_id, dataset_id=dataset_id)
    return DatasetObject.of(dataset, datasets.progress_of(session, [dataset]).get(dataset.id))


@router.delete("/{dataset_id}", response_model=Deleted)
def delete(dataset_id: str, session: SessionDep, who: CallerDep) -> Deleted:
    """Delete a dataset that no job was made with; of a split both parts. The uploaded file stays."""
    shelf.delete_dataset(session, project_id=who.project_id, dataset_id=dataset_id)
    return Deleted(id=dataset_id, object="dataset")
