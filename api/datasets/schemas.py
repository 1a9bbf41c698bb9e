"""The shape of datasets and their rows."""

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from api.schemas import Input, Listing, Timestamp
from core.ingest import options
from core.ingest.likeness import Overlap
from core.ingest.options import Options
from core.ingest.shards import PageRow
from core.models import Dataset

EXAMPLE: dict[str, JsonValue] = {
    "name": "portraits",
    "file": "file-01k9v3m5x7q8r2s4t6w8y0z1ab",
    "tolerance": 0.05,
}


class Columns(Input):
    """The columns of a parquet file or of metadata.csv or .jsonl, where they have unusual names."""

    image: str | None = Field(
        None, min_length=1, max_length=200, description="Of the pictures, or of their file names."
    )
    caption: str | None = Field(None, min_length=1, max_length=200, description="Of the captions.")


class Split(Input):
    """Holds some rows out, in a dataset of their own."""

    validation: float = Field(gt=0, le=0.5, strict=True, description="The share of rows that is held out.")
    by: Literal["row", "caption"] = Field(
        "row",
        description="`row`: rows of the same picture stay on one side; `caption`: rows of the same caption.",
    )
    seed: int = Field(
        0, ge=0, lt=2**31, strict=True, description="Decides which rows; the same gives the same parts."
    )


class DatasetCreate(Input):
    """What makes a dataset: a name, the file it is built from, and how."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    name: str = Field(
        min_length=1,
        max_length=100,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]*$",
        description="The same name again makes the next version; the part that is held out is "
        "NAME.validation.",
    )
    file: str = Field(
        max_length=200,
        description="Id of an uploaded file: a zip or tar of pictures with captions, or a parquet file.",
    )
    tolerance: float = Field(
        1.0,
        ge=0,
        le=1,
        strict=True,
        description="The share of rows that may be bad; more fail the dataset. At 1 one good row is enough.",
    )
    columns: Columns | None = Field(None, description="Where pictures and captions are; found when left out.")
    split: Split | None = Field(None, description="What is held out; nothing when left out.")

    def options(self) -> Options:
        """Return what was said beside the name and the file."""
        return Options(
            tolerance=self.tolerance,
            columns=options.Columns()
            if self.columns is None
            else options.Columns(**self.columns.model_dump()),
            split=None if self.split is None else options.Split(**self.split.model_dump()),
        )


class DatasetListing(Listing):
    """The query of the list of datasets."""

    name: str | None = Field(None, max_length=200, description="Only the versions of this name.")


class PictureQuery(Input):
    """The query of a row's picture."""

    loser: bool = Field(default=False, description="The picture that lost against it, in pairs.")


class RowListing(Input):
    """The query of a dataset's rows, which are listed in their order."""

    limit: int = Field(20, ge=1, le=100, description="How many at most.")
    after: int | None = Field(
        None, ge=0, lt=2**31, description="Continue after this row: the last index received."
    )


class Comparison(Input):
    """The query of a comparison."""

    other: str = Field(max_length=200, description="Id of the dataset to compare with.")


class Rejected(BaseModel):
    """A picture that was left out, and why."""

    file: str
    row: int | None
    reason: str


class RejectedObject(Rejected):
    """The same, by its place in the list."""

    index: int
    object: Literal["dataset.rejected_row"] = "dataset.rejected_row"


class OverlapExample(BaseModel):
    """Two rows with the same picture, or pictures that look alike."""

    row: int
    other: int
    identical: bool


class OverlapObject(BaseModel):
    """What two datasets share, counted in rows of the first."""

    object: Literal["dataset.overlap"] = "dataset.overlap"
    dataset: str
    other: str
    rows: int
    identical: int = Field(description="Rows whose picture is in the other, byte for byte.")
    alike: int = Field(description="Rows whose picture looks like one of the other, and is not in it.")
    examples: list[OverlapExample] = Field(description="The first twenty.")

    @classmethod
    def of(cls, dataset_id: str, other_id: str, found: Overlap) -> Self:
        """Render a comparison."""
        return cls.model_validate({"dataset": dataset_id, "other": other_id, **found.as_json()})


class DatasetObject(BaseModel):
    """An immutable, numbered version of pictures with captions."""

    id: str
    object: Literal["dataset"] = "dataset"
    name: str
    version: int
    file: str | None
    status: Literal["validating", "ready", "failed"]
    progress: dict[str, Any] | None = Field(
        description="While it is validated: `step` rows `of` about so many."
    )
    rows: int | None
    rejected: list[Rejected] = Field(description="The first thousand; `GET .../rejected` lists all.")
    statistics: dict[str, Any] | None
    sha256: str | None
    failure: dict[str, Any] | None
    options: dict[str, Any] | None = Field(description="Tolerance, columns and split, as they were given.")
    part: Literal["training", "validation"] | None
    sibling: str | None = Field(description="The other part, where a file was split into two datasets.")
    comparison: str | None = Field(description="The comparison whose votes chose its pictures.")
    created_at: Timestamp

    @classmethod
    def of(cls, dataset: Dataset, progress: dict[str, Any] | None = None) -> Self:
        """Render a row."""
        return cls.model_validate(
            {
                "id": dataset.id,
                "name": dataset.name,
                "version": dataset.version,
                "file": dataset.file_id if dataset.comparison_id is None else None,
                "status": dataset.state,
                "progress": progress,
                "rows": dataset.rows,
                "rejected": dataset.rejected or [],
                "statistics": dataset.statistics,
                "sha256": dataset.sha256,
                "failure": dataset.failure,
                "options": dataset.options,
                "part": dataset.part,
                "sibling": dataset.sibling_id,
                "comparison": dataset.comparison_id,
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
    loser_thumbnail: str | None = Field(description="Of the picture that lost against it, in pairs.")

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
            loser_thumbnail=row.loser_thumbnail,
        )
