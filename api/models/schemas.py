"""The shape of models."""

from typing import Any, Literal, Self

from pydantic import BaseModel

from api.schemas import Timestamp
from core.models import Model


class ModelObject(BaseModel):
    """A model that can draw and be fine-tuned."""

    id: str
    object: Literal["model"] = "model"
    created: Timestamp
    owned_by: str
    kind: Literal["base", "result", "checkpoint"]
    base_model: str | None
    job: str | None
    defaults: dict[str, Any] | None

    @classmethod
    def of(cls, model: Model) -> Self:
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
            }
        )


class Lineage(BaseModel):
    """The steps that led to a model, the newest first."""

    id: str
    object: Literal["model.lineage"] = "model.lineage"
    data: list[dict[str, Any]]
