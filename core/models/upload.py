"""Files on their way: uploads and the parts that came."""

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from core.clock import UtcDateTime, utcnow
from core.models.columns import Base, checked
from core.models.states import UploadState


class Upload(Base):
    """A file that comes in parts.

    ``bytes`` is what was announced and what the project's account holds for it while it is open,
    ``received_bytes`` what its parts have taken of that. ``part_bytes`` is the size of each part that goes
    to the store directly, but the last. ``keep_seconds`` is how long the file will be kept; None: until it
    is deleted. While it is completed, ``fence`` and ``lease_expires_at`` tell who does that. ``cleared_at``
    is when its parts were taken out of the store.
    """

    __tablename__ = "upload"
    __table_args__ = (Index(None, "state", "expires_at"), Index(None, "cleared_at"))

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("project.id"), index=True)
    filename: Mapped[str]
    purpose: Mapped[str]
    mime_type: Mapped[str]
    bytes: Mapped[int] = mapped_column(BigInteger)
    received_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    sha256: Mapped[str | None]
    part_bytes: Mapped[int | None] = mapped_column(BigInteger)
    keep_seconds: Mapped[int | None]
    state: Mapped[UploadState] = mapped_column(checked(UploadState), default=UploadState.pending)
    fence: Mapped[int] = mapped_column(default=0)
    lease_expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    file_id: Mapped[str | None] = mapped_column(ForeignKey("file.id"))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    cleared_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class UploadPart(Base):
    """Some bytes of an upload: in the store, or, with a signed address, still to come.

    ``sha256`` is None only for a part that goes to the store directly and whose digest was not told.
    """

    __tablename__ = "upload_part"

    id: Mapped[str] = mapped_column(primary_key=True)
    upload_id: Mapped[str] = mapped_column(ForeignKey("upload.id"), index=True)
    number: Mapped[int | None]
    bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str | None]
    key: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
