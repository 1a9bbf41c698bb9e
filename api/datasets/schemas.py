"""The shape of datasets and their rows."""

from typing import Any, Literal, Self

from pydantic import BaseModel, Field

from api.schemas import Input, Timestamp
from core.ingest.shards import PageRow
from core.models import Dataset


class DatasetCreate(Input):
    """What makes a dataset: a name, and the file it is built from."""

    name: str = Field(
        min_length=1,
        max_length=100,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]*$",
        description="The same name again makes the next version.",
    )
    file: str = Field(
        max_length=200, description="Id of an uploaded file: a zip or tar of pictures with captions."
    )


class RowListing(Input):
    """The query of a dataset's rows, which are listed in their order."""

    limit: int = Field(20, ge=1, le=100)
    after: int | None = Field(None, ge=0, description="Continue after this row: the last index received.")


class Rejected(BaseModel):
    """A picture that was left out, and why."""

    file: str
    row: int | None
    reason: str


class DatasetObject(BaseModel):
    """An immutable, numbered version of pictures with captions."""

    id: str
    object: Literal["dataset"] = "dataset"
    name: str
    version: int
    file: str | None
    status: Literal["validating", "ready", "failed"]
    rows: int | None
    rejected: list[Rejected]
    statistics: dict[str, Any] | None
    sha256: str | None
    failure: dict[str, Any] | None
    created_at: Timestamp

    @classmethod
    def of(cls, dataset: Dataset) -> Self:
        """Render a row."""
        return cls.model_validate(
            {
                "id": dataset.id,
                "name": dataset.name,
                "version": dataset.version,
                "file": dataset.file_id,
                "status": dataset.state,
                "rows": dataset.rows,
                "rejected": dataset.rejected or [],
                "statistics": dataset.statistics,
                "sha256": dataset.sha256,
                "failure": dataset.failure,
                "created_at": dataset.created_at,
            }
        )


class RowObject(BaseModel):
    """One picture with its caption; the thumbnail is a data URL."""

    index: int
    object: Literal["dataset.row"] = "dataset.row"
    file_name: str
    caption: str
    width: int
    height: int
    thumbnail: str

    @classmethod
    def of(cls, row: PageRow) -> Self:
        """Render a row."""
        return cls(
            index=row.index,
            file_name=row.file_name,
            caption=row.text,
            width=row.width,
            height=row.height,
            thumbnail=row.thumbnail,
        )
