"""Uploads whose parts go to the store by signed addresses, so that the API never carries them.

An address binds method, key, length, expiry and, when it was told, the sha256 of one part. Whatever the store
lets pass, completing checks it.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.clock import utcnow
from core.errors import Invalid
from core.ids import new_id
from core.models import Upload, UploadPart, UploadState
from core.storage.objects import Bound, Link
from core.storage.store import ObjectStore
from core.uploads import uploads

SMALLEST_PART = 64 << 10
USUAL_PART = 64 << 20
LARGEST_PART = 5 << 30
MAX_PARTS = 1000


@dataclass(frozen=True)
class PartUrl:
    """Where one part of a direct upload goes, and from which byte of the file on it is."""

    part: UploadPart
    link: Link
    offset: int
    expires_at: datetime


def create_upload(
    session: Session, *, size: int, part_bytes: int | None, part_sha256: list[str] | None, **told: Any
) -> Upload:
    """Begin an upload whose parts go to the store directly.

    Args:
        session: an open transaction.
        size: bytes of the whole.
        part_bytes: of each part but the last; None: as many as are usual.
        part_sha256: of each part, when they are known.
        told: whatever else `uploads.create_upload` takes.

    Raises:
        Invalid: the size does not make such parts, or not so many.
    """
    upload = uploads.create_upload(session, size=size, part_bytes=_part_bytes(size, part_bytes), **told)
    session.add_all(_parts(upload, part_sha256))
    session.flush()
    return upload


def _part_bytes(size: int, asked: int | None) -> int:
    """Return the size of direct parts, so that there are not too many."""
    least = -(-size // MAX_PARTS)
    if asked is not None and asked < least:
        raise Invalid(
            f"part_bytes: would make more than {MAX_PARTS} parts; give at least {least}",
            param="part_bytes",
            code="too_many_parts",
        )
    return asked or max(USUAL_PART, least)


def _parts(upload: Upload, digests: list[str] | None) -> list[UploadPart]:
    assert upload.part_bytes is not None, "of a direct upload"
    starts = range(0, upload.bytes, upload.part_bytes)
    if digests is not None and len(digests) != len(starts):
        raise Invalid(
            f"part_sha256: {upload.bytes} bytes in parts of {upload.part_bytes} are {len(starts)} parts, "
            f"but {len(digests)} digests are given",
            param="part_sha256",
            code="wrong_number_of_parts",
        )
    parts = []
    for number, start in enumerate(starts):
        part_id = new_id("part-")
        parts.append(
            UploadPart(
                id=part_id,
                upload_id=upload.id,
                number=number,
                bytes=min(upload.part_bytes, upload.bytes - start),
                sha256=digests[number] if digests is not None else None,
                key=uploads.part_key(upload, part_id=part_id),
                created_at=upload.created_at,
            )
        )
    return parts


def part_urls(session: Session, store: ObjectStore, *, upload: Upload) -> list[PartUrl] | None:
    """Return where the parts of a pending direct upload go, in their order; None of any other upload."""
    seconds = int((upload.expires_at - utcnow()).total_seconds())
    if upload.part_bytes is None or upload.state is not UploadState.pending or seconds < 1:
        return None
    parts = session.scalars(
        select(UploadPart).where(UploadPart.upload_id == upload.id).order_by(UploadPart.number)
    )
    return [
        PartUrl(
            part=part,
            link=store.signed_put(part.key, Bound(part.bytes, part.sha256), seconds),
            offset=number * upload.part_bytes,
            expires_at=upload.expires_at,
        )
        for number, part in enumerate(parts)
    ]
