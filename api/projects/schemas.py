"""The shape of a project."""

from typing import Literal, Self

from pydantic import BaseModel, Field

from api.schemas import Timestamp
from core.models import Project


class ProjectObject(BaseModel):
    """The owner of keys, data, jobs and models. A limit that is null does not exist."""

    id: str
    object: Literal["project"] = "project"
    name: str
    created_at: Timestamp
    max_running: int | None = Field(description="Units of its jobs that run at once; the others wait.")
    max_jobs: int | None = Field(description="Jobs that are open at once; another one is refused (429).")
    open_jobs: int
    gpu_seconds_limit: float | None = Field(
        description="GPU seconds that its jobs may take in all; a job that would take more is refused (429)."
    )
    gpu_seconds_reserved: float = Field(description="What its open jobs were thought to take.")
    gpu_seconds_used: float = Field(description="What its jobs took that have ended.")
    max_bytes: int | None = Field(
        description="What its files and open uploads may take; a file that would take more is refused (429)."
    )
    stored_bytes: int = Field(description="What they take: files with the same bytes take them once.")

    @classmethod
    def of(cls, row: Project) -> Self:
        """Render a row."""
        return cls.model_validate(
            {
                "id": row.id,
                "name": row.name,
                "created_at": row.created_at,
                "max_running": row.max_running,
                "max_jobs": row.max_jobs,
                "open_jobs": row.open_jobs,
                "gpu_seconds_limit": row.gpu_seconds_limit,
                "gpu_seconds_reserved": row.gpu_seconds_reserved,
                "gpu_seconds_used": row.gpu_seconds_used,
                "max_bytes": row.max_bytes,
                "stored_bytes": row.stored_bytes,
            }
        )
