"""Uploads: files that come in parts, through the API or straight to the store.

pending -> completing -> completed, or cancelled, or expired: each step is one compare-and-set. While an
upload is open the project's account holds what was announced. Nothing that a client may still write at
becomes a file: completing reads the parts once, checks them, and writes what it read to a key of its own.
"""

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, update
from sqlalchemy.orm import Session

from core import blobs
from core.clock import database_now, utcnow
from core.db import settings_of
from core.errors import Conflict, NotFound, TooLarge
from core.ids import new_id
from core.models import Upload, UploadState

FOLDER = "uploads"
LIFE_SECONDS = 24 * 3600
OPEN = (UploadState.pending, UploadState.completing)
QUIETLY = {"synchronize_session": False}


def create_upload(
    session: Session,
    *,
    project_id: str,
    filename: str,
    purpose: str,
    mime_type: str,
    size: int,
    sha256: str | None = None,
    keep_seconds: int | None = None,
    part_bytes: int | None = None,
    now: datetime | None = None,
) -> Upload:
    """Begin an upload whose parts come through the API (core.uploads.direct begins the others).

    Args:
        session: an open transaction.
        project_id: whose it is.
        filename: of the file.
        purpose: what the file is for.
        mime_type: what it is said to be.
        size: bytes of the whole.
        sha256: of the whole, when it is known.
        keep_seconds: when the file is deleted by itself; None: never.
        part_bytes: the size of parts that go to the store directly.
        now: what the time is taken to be.

    Raises:
        TooLarge: no file may be so large.
        TooMany: the project may not store so much.
    """
    largest = settings_of(session).max_file_bytes
    if size > largest:
        raise TooLarge(
            f"bytes: the file is larger than the {largest} bytes this server takes; split it",
            param="bytes",
            code="file_too_large",
        )
    blobs.charge(session, project_id=project_id, size=size)
    moment = now or utcnow()
    upload = Upload(
        id=new_id("upload-"),
        project_id=project_id,
        filename=filename,
        purpose=purpose,
        mime_type=mime_type,
        bytes=size,
        received_bytes=0,
        sha256=sha256,
        part_bytes=part_bytes,
        keep_seconds=keep_seconds,
        state=UploadState.pending,
        created_at=moment,
        expires_at=moment + timedelta(seconds=LIFE_SECONDS),
    )
    session.add(upload)
    session.flush()
    return upload


def part_key(upload: Upload, *, part_id: str) -> str:
    """Return where a part's bytes go."""
    return f"{prefix_of(upload.project_id, upload.id)}{part_id}"


def prefix_of(project_id: str, upload_id: str) -> str:
    """Return what the keys of an upload's parts begin with."""
    return f"{FOLDER}/{project_id}/{upload_id}/"


def get_upload(session: Session, *, project_id: str, upload_id: str) -> Upload:
    """Return an upload of the project as it is now."""
    upload = session.get(Upload, upload_id, populate_existing=True)
    if upload is None or upload.project_id != project_id:
        raise NotFound(f"there is no upload {upload_id!r}", param="upload_id")
    return upload


def takes_parts(now: datetime | None) -> ColumnElement[bool]:
    """Return SQL for an upload that is open and that nobody completes."""
    return (Upload.state == UploadState.pending) & (Upload.expires_at > database_now(now=now))


def refusal(upload: Upload) -> Conflict:
    """Return why an upload takes nothing more."""
    if upload.state is UploadState.completing:
        return Conflict(f"{upload.id} is being completed; ask again in a moment", code="upload_completing")
    ended = UploadState.expired if upload.state is UploadState.pending else upload.state
    return Conflict(f"{upload.id} is {ended.value}; begin another upload", code=f"upload_{ended.value}")


def cancel_upload(session: Session, *, project_id: str, upload_id: str) -> Upload:
    """Give an upload up, also while it is being completed; its parts are deleted later. May be repeated.

    Raises:
        Conflict: it is completed, or expired.
    """
    upload = get_upload(session, project_id=project_id, upload_id=upload_id)
    cancelled = session.execute(
        update(Upload)
        .where(Upload.id == upload_id, Upload.state.in_(OPEN))
        .values(state=UploadState.cancelled, lease_expires_at=None)
        .returning(Upload.bytes)
        .execution_options(**QUIETLY)
    ).first()
    session.refresh(upload)
    if cancelled is not None:
        blobs.charge(session, project_id=project_id, size=-cancelled.bytes)
    elif upload.state is not UploadState.cancelled:
        raise refusal(upload)
    return upload
