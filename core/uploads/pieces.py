"""The parts of an upload: which came, one more, and what they hold."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from core.clock import utcnow
from core.errors import Conflict, Invalid
from core.models import Upload, UploadPart
from core.paging import Page, page
from core.storage.objects import CHUNK, Stored
from core.storage.store import ObjectStore
from core.uploads.uploads import QUIETLY, get_upload, part_key, refusal, takes_parts

LARGEST_PART = 64 << 20
MAX_PARTS = 10_000


@dataclass(frozen=True)
class Received:
    """A part, and whether it is in the store."""

    part: UploadPart
    received: bool


def list_parts(
    session: Session, *, upload: Upload, after: str | None, limit: int, ascending: bool
) -> Page[UploadPart]:
    """List an upload's parts, in the order they came; direct ones in the order of their bytes."""
    statement = select(UploadPart).where(UploadPart.upload_id == upload.id)
    return page(session, statement, by=UploadPart.id, after=after, limit=limit, ascending=ascending)


def received(store: ObjectStore, *, upload: Upload, parts: Page[UploadPart]) -> list[Received]:
    """Tell which parts are in the store: those that came through the API are. Not in a transaction."""
    if upload.part_bytes is None:
        return [Received(part, received=True) for part in parts.items]
    return [Received(part, received=_lies(store, part)) for part in parts.items]


def _lies(store: ObjectStore, part: UploadPart) -> bool:
    found = store.stat(part.key)
    return found is not None and found.size == part.bytes


def open_for_part(
    session: Session, *, project_id: str, upload_id: str, now: datetime | None = None
) -> Upload:
    """Return an upload that takes parts through the API, and hold its row until the transaction ends.

    Raises:
        Conflict: it is over, is being completed, or is direct.
    """
    upload = get_upload(session, project_id=project_id, upload_id=upload_id)
    if upload.part_bytes is not None:
        raise Conflict(
            f"the parts of {upload_id} go to its `part_urls`, not through this API", code="upload_is_direct"
        )
    held = session.execute(
        update(Upload)
        .where(Upload.id == upload_id, takes_parts(now))
        .values(received_bytes=Upload.received_bytes)
        .returning(Upload.id)
        .execution_options(**QUIETLY)
    ).first()
    session.refresh(upload)
    if held is None:
        raise refusal(upload)
    return upload


def add_part(
    session: Session,
    *,
    project_id: str,
    upload_id: str,
    part_id: str,
    stored: Stored,
    now: datetime | None = None,
) -> UploadPart:
    """Write the row of a part that is in the store, or return that of a twin: then its bytes are nobody's.

    Raises:
        Conflict: the upload takes no more parts.
        Invalid: the parts would hold more than was announced.
    """
    upload = open_for_part(session, project_id=project_id, upload_id=upload_id, now=now)
    mine = UploadPart.upload_id == upload_id
    twin = session.scalars(
        select(UploadPart).where(mine, UploadPart.sha256 == stored.sha256, UploadPart.bytes == stored.size)
    ).first()
    if twin is not None:
        return twin
    if upload.received_bytes + stored.size > upload.bytes:
        raise Invalid(
            f"data: with this part {upload_id} has {upload.received_bytes + stored.size} bytes, but "
            f"{upload.bytes} were announced; complete it, or cancel it and begin again",
            param="data",
            code="too_many_bytes",
        )
    count = session.scalar(select(func.count()).select_from(UploadPart).where(mine)) or 0
    if count >= MAX_PARTS:
        raise Invalid(
            f"data: {upload_id} has {MAX_PARTS} parts already; send larger ones",
            param="data",
            code="too_many_parts",
        )
    part = UploadPart(
        id=part_id,
        upload_id=upload_id,
        number=None,
        bytes=stored.size,
        sha256=stored.sha256,
        key=part_key(upload, part_id=part_id),
        created_at=utcnow(),
    )
    upload.received_bytes += stored.size
    session.add(part)
    session.flush()
    return part


def checked_bytes(store: ObjectStore, part: UploadPart) -> Iterator[bytes]:
    """Yield a part's bytes; Invalid when it is not there, or not what was announced."""
    digest, left = hashlib.sha256(), part.bytes
    try:
        with store.open(part.key) as stream:
            while piece := stream.read(CHUNK):
                left -= len(piece)
                if left < 0:
                    break
                digest.update(piece)
                yield piece
    except FileNotFoundError as error:
        raise _wrong(part, "is not in the store: send it", "part_missing") from error
    if left:
        raise _wrong(
            part, f"has not the {part.bytes} bytes that were announced: send it again", "part_wrong_size"
        )
    if part.sha256 not in (None, digest.hexdigest()):
        raise _wrong(part, f"has another sha256 than {part.sha256}: send it again", "part_wrong_sha256")


def _wrong(part: UploadPart, what: str, code: str) -> Invalid:
    place = "" if part.number is None else f" (number {part.number})"
    return Invalid(f"part_ids: {part.id}{place} {what}", param="part_ids", code=code)
