"""The shape of files, as OpenAI's."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, Field, StringConstraints

from api.schemas import Input, Listing, Timestamp
from core.files import KEEP_SECONDS
from core.models import File

PURPOSES = ("fine-tune", "user_data")
Purpose = Literal["fine-tune", "user_data"]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-fA-F]{64}$", to_lower=True)]


class ExpiresAfter(Input):
    """How long a file is kept."""

    anchor: Literal["created_at"] = Field(description="From when on: the making of the file.")
    seconds: int = Field(ge=KEEP_SECONDS[0], le=KEEP_SECONDS[1], description="One hour to 30 days.")


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
    expires_at: Timestamp | None = Field(description="When it is deleted by itself; null: never.")
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
            expires_at=file.expires_at,
            filename=file.filename,
            purpose=file.purpose,
        )
