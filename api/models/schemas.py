"""The shape of models."""

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from api.schemas import Input, Listing, Timestamp
from core.models import ExportFormat, Model, ModelExport, ModelImport


class ModelListing(Listing):
    """The query of a list of models."""

    kind: Literal["base", "result", "imported"] | None = Field(None, description="Only models of this kind.")
    search: str | None = Field(
        None, min_length=1, max_length=100, description="Only models with this in their id."
    )


class ModelObject(BaseModel):
    """A model that can draw and be fine-tuned."""

    id: str
    object: Literal["model"] = "model"
    created: Timestamp
    owned_by: str
    kind: Literal["base", "result", "checkpoint", "imported"]
    base_model: str | None
    job: str | None
    defaults: dict[str, Any] | None
    registered: list[str] = Field(description="The versions that name it, `NAME@VERSION`.")

    @classmethod
    def of(cls, model: Model, registered: list[str]) -> Self:
        """Render a row."""
        return cls.model_validate(
            {
                "id": model.id,
                "created": model.created_at,
                "owned_by": model.project_id or "spindle",
                "kind": model.kind,
                "base_model": model.base_model_id,
                "job": model.job_id,
                "defaults": model.defaults,
                "registered": registered,
            }
        )


class LineageNode(BaseModel):
    """One thing of a lineage; what else is known of it stands beside these fields."""

    model_config = ConfigDict(extra="allow")

    id: str
    type: Literal[
        "comparison",
        "dataset",
        "file",
        "job",
        "iteration",
        "checkpoint",
        "model",
        "version",
        "alias",
        "picture",
    ]
    label: str


class Lineage(BaseModel):
    """Where a model comes from, and what came of it.

    ``data`` are the steps that led to it, the newest first; ``edges`` are pairs of nodes' ids, from what was
    before to what came of it. ``left_out`` counts what the graph does not show.
    """

    id: str
    object: Literal["model.lineage"] = "model.lineage"
    data: list[dict[str, Any]]
    nodes: list[LineageNode]
    edges: list[tuple[str, str]]
    left_out: int


class ExportCreate(Input):
    """In what form a model is to be written."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"format": "diffusers"}]})

    format: ExportFormat = Field(
        description="`diffusers`: a zip of the pipeline's folder with its model card. `lora`, `comfyui`, "
        "`a1111`: one LoRA file, as these programs read it."
    )


class ExportObject(BaseModel):
    """A model in a form that other programs read; ``bytes`` and ``sha256`` once it is ready."""

    id: str
    object: Literal["model.export"] = "model.export"
    model: str
    format: ExportFormat
    status: Literal["pending", "ready", "failed"]
    filename: str
    bytes: int | None
    sha256: str | None
    failure: dict[str, Any] | None
    created: Timestamp
    created_by: str | None

    @classmethod
    def of(cls, row: ModelExport) -> Self:
        """Render a row."""
        return cls(
            id=row.id,
            model=row.model_id,
            format=row.format,
            status=row.state.value,
            filename=row.filename,
            bytes=row.bytes,
            sha256=row.sha256,
            failure=row.failure,
            created=row.created_at,
            created_by=row.created_by,
        )


class ImportCreate(Input):
    """What makes a model of a file."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"file": "file-01k9v3m5x7q8r2s4t6w8y0z1ab", "name": "portrait", "licence": "cc-by-4.0"}
            ]
        }
    )

    file: str = Field(min_length=1, max_length=200, description="Id of an uploaded file.")
    name: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        description="Becomes a part of the model's name; the file's name, when left out.",
    )
    base_model: str | None = Field(
        None,
        min_length=1,
        max_length=200,
        description="What a LoRA is for, or what a pipeline was made from.",
    )
    alpha: float | None = Field(
        None,
        gt=0,
        le=1_000_000,
        strict=True,
        description="Of a LoRA whose file does not tell it; its rank, when left out.",
    )
    licence: str | None = Field(
        None, min_length=1, max_length=200, description="Of the model, as its card tells it."
    )
    notes: str | None = Field(None, max_length=2000, description="What people should know of it.")


class ImportObject(BaseModel):
    """A file that becomes a model. ``model`` is the model's name, once ``status`` is ready."""

    id: str
    object: Literal["model.import"] = "model.import"
    file: str
    status: Literal["pending", "ready", "failed"]
    model: str | None
    base_model: str | None
    licence: str | None
    notes: str | None
    found: dict[str, Any] | None = Field(description="What the file turned out to be.")
    failure: dict[str, Any] | None
    created: Timestamp
    created_by: str | None

    @classmethod
    def of(cls, row: ModelImport) -> Self:
        """Render a row."""
        return cls(
            id=row.id,
            file=row.file_id,
            status=row.state.value,
            model=row.model_id if row.state.value == "ready" else None,
            base_model=row.base_model_id,
            licence=row.licence,
            notes=row.notes,
            found=row.found,
            failure=row.failure,
            created=row.created_at,
            created_by=row.created_by,
        )


class CardFacts(BaseModel):
    """What is known of a model, as its card tells it."""

    id: str
    object: Literal["model.card"] = "model.card"
    markdown: str
    facts: dict[str, Any]
