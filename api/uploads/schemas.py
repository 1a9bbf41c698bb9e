"""The shape of uploads in parts: OpenAI's fields first, ours after them."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationInfo, field_validator

from api.files.schemas import Digest, ExpiresAfter, FileObject, Purpose
from api.schemas import Input, Listing, Timestamp
from core.files import plain_name
from core.models import File, Upload, UploadState
from core.uploads import direct as addresses
from core.uploads import pieces

Status = Literal["pending", "completed", "cancelled", "expired"]


class UploadCreate(Input):
    """What begins an upload in parts.

    With ``direct`` the answer holds ``part_urls``, addresses of the store to which the parts are PUT.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "filename": "portraits.zip",
                    "purpose": "fine-tune",
                    "bytes": 1_000_000,
                    "mime_type": "application/zip",
                }
            ]
        }
    )

    filename: str = Field(min_length=1, max_length=1000, description="What the file will be called.")
    purpose: Purpose = Field(description="What the file is for: `fine-tune` to make datasets of it.")
    bytes: int = Field(ge=1, strict=True, description="The size of the whole file.")
    mime_type: str = Field(
        max_length=255,
        pattern=r"^[A-Za-z0-9!#$&^_.+/; =-]*$",
        description="Kept, and told again.",
    )
    expires_after: ExpiresAfter | None = Field(
        None, description="When the file is deleted by itself; left out: never."
    )
    sha256: Digest | None = Field(
        None, description="Of the whole file, in hexadecimal: an upload that has another is not completed."
    )
    direct: bool = Field(
        default=False, strict=True, description="The parts go to the store themselves, by signed addresses."
    )
    part_bytes: int | None = Field(
        None,
        ge=addresses.SMALLEST_PART,
        le=addresses.LARGEST_PART,
        strict=True,
        description="With `direct`: the size of each part but the last; left out: 64 MiB or more, so that "
        f"there are at most {addresses.MAX_PARTS} parts.",
    )
    part_sha256: list[Digest] | None = Field(
        None,
        max_length=addresses.MAX_PARTS,
        description="With `direct` and `part_bytes`: of each part in order. The addresses then take no other "
        "bytes.",
    )

    @field_validator("filename")
    @classmethod
    def _plain(cls, filename: str) -> str:
        return plain_name(filename)

    @field_validator("part_bytes", "part_sha256")
    @classmethod
    def _of_a_direct_upload(cls, value: Any, info: ValidationInfo) -> Any:
        if value is not None and not info.data.get("direct"):
            raise ValueError("is for uploads with `direct`; leave it out")
        return value


class UploadComplete(Input):
    """What ends an upload: which parts, in their order, and what the whole must be."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"part_ids": ["part-01k9v3m5x7q8r2s4t6w8y0z1ab"]}]}
    )

    part_ids: list[Annotated[str, Field(max_length=100)]] = Field(
        min_length=1,
        max_length=pieces.MAX_PARTS,
        description="The parts in the order of their bytes.",
    )
    md5: Annotated[str, StringConstraints(pattern=r"^[0-9a-fA-F]{32}$", to_lower=True)] | None = Field(
        None, description="Of the whole file, in hexadecimal."
    )
    sha256: Digest | None = Field(None, description="Of the whole file, in hexadecimal.")


class PartListing(Listing):
    """The query of the list of parts."""

    order: Literal["asc", "desc"] = Field("desc", description="Latest first, or in the order they came.")


class PartObject(BaseModel):
    """A part of an upload. One that was sent twice is one part: it is known by its bytes."""

    id: str
    object: Literal["upload.part"] = "upload.part"
    created_at: Timestamp
    upload_id: str
    bytes: int
    sha256: str | None = Field(description="Null for a direct part whose digest was not told.")
    number: int | None = Field(description="Its place, from 0; null for parts whose order `complete` tells.")
    received: bool = Field(description="Whether it is in the store.")

    @classmethod
    def of(cls, found: pieces.Received) -> Self:
        """Render a row."""
        part = found.part
        return cls(
            id=part.id,
            created_at=part.created_at,
            upload_id=part.upload_id,
            bytes=part.bytes,
            sha256=part.sha256,
            number=part.number,
            received=found.received,
        )


class PartUrlObject(BaseModel):
    """Where to send one part: ``method`` the bytes from ``offset`` on to ``url`` with these headers."""

    id: str
    number: int
    method: Literal["PUT"] = "PUT"
    url: str
    headers: dict[str, str] = Field(description="To be sent with it, as they are.")
    offset: int
    bytes: int
    sha256: str | None
    expires_at: Timestamp

    @classmethod
    def of(cls, found: addresses.PartUrl) -> Self:
        """Render an address."""
        part = found.part
        assert part.number is not None, "direct parts are numbered"
        return cls(
            id=part.id,
            number=part.number,
            url=found.link.url,
            headers=found.link.headers,
            offset=found.offset,
            bytes=part.bytes,
            sha256=part.sha256,
            expires_at=found.expires_at,
        )


class UploadObject(BaseModel):
    """A file that comes in parts. ``file`` is there when it is completed, until it is deleted."""

    id: str
    object: Literal["upload"] = "upload"
    bytes: int
    created_at: Timestamp
    expires_at: Timestamp
    filename: str
    purpose: Purpose
    status: Status
    file: FileObject | None = None
    mime_type: str
    sha256: str | None = Field(description="What the whole was announced to be, or is.")
    direct: bool
    part_bytes: int = Field(description="The size of each direct part but the last; else the most of one.")
    received_bytes: int = Field(description="Of the parts that came through this API.")
    part_urls: list[PartUrlObject] | None = Field(
        None, description="Of a pending direct upload: where its parts go, one a part, in order."
    )

    @classmethod
    def of(
        cls, upload: Upload, *, file: File | None = None, urls: list[addresses.PartUrl] | None = None
    ) -> Self:
        """Render a row."""
        completing = upload.state is UploadState.completing
        return cls(
            id=upload.id,
            bytes=upload.bytes,
            created_at=upload.created_at,
            expires_at=upload.expires_at,
            filename=upload.filename,
            purpose=upload.purpose,
            status="pending" if completing else upload.state.value,
            file=FileObject.of(file) if file is not None else None,
            mime_type=upload.mime_type,
            sha256=file.sha256 if file is not None else upload.sha256,
            direct=upload.part_bytes is not None,
            part_bytes=upload.part_bytes or pieces.LARGEST_PART,
            received_bytes=upload.received_bytes,
            part_urls=[PartUrlObject.of(each) for each in urls] if urls is not None else None,
        )
