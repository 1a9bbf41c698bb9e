"""The shape of files, as OpenAI's."""

from typing import Literal, Self

from pydantic import BaseModel, Field

from api.schemas import Listing, Timestamp
from core.models import File

PURPOSES = ("fine-tune", "user_data")
Purpose = Literal["fine-tune", "user_data"]


class FileListing(Listing):
    """The query of the list of files."""

    purpose: Purpose | None = Field(None, description="Only files of this purpose.")
    order: Literal["asc", "desc"] = Field("desc", description="By age: newest first, or oldest.")


class FileObject(BaseModel):
    """Bytes that were uploaded, and what they were uploaded for."""

    id: str
    object: Literal["file"] = "file"
    bytes: int
    sha256: str
    created_at: Timestamp
    filename: str
    purpose: Purpose
    status: Literal["processed"] = "processed"

    @classmethod
    def of(cls, file: File) -> Self:
        """Render a row."""
        return cls(
            id=file.id,
            bytes=file.bytes,
            sha256=file.sha256,
            created_at=file.created_at,
            filename=file.filename,
            purpose=file.purpose,
        )
