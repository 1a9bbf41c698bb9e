"""An upload's parts become a file: claimed by one process, read once, checked, written where only it writes.

A process that dies on the way leaves an upload whose lease runs out, so that another may complete it, and an
object of which no row tells (core.files.clear_lost).
"""

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from core import files
from core.clock import database_now
from core.db import Database, transaction
from core.errors import Conflict, Invalid
from core.models import File, Upload, UploadPart, UploadState
from core.storage.objects import Pulled, Stored, buffered
from core.storage.store import ObjectStore
from core.uploads import pieces
from core.uploads.uploads import QUIETLY, get_upload, refusal, takes_parts

AnswerT = TypeVar("AnswerT")

LEASE_SECONDS = 120.0
BEAT_SECONDS = 10.0


@dataclass(frozen=True)
class Assembly:
    """Proof that a process completes an upload, and what it has to make of which parts."""

    upload_id: str
    fence: int
    project_id: str
    file_id: str
    filename: str
    purpose: str
    keep_seconds: int | None
    size: int
    parts: tuple[UploadPart, ...]
    sha256: str | None
    md5: str | None

    @property
    def key(self) -> str:
        """Where this attempt writes; no other one does."""
        return files.object_key(project_id=self.project_id, file_id=self.file_id)


def completed_file(session: Session, *, upload: Upload, sha256: str | None = None) -> File | None:
    """Return the file that an upload has become; None when it has not, or the file was deleted.

    Raises:
        Invalid: the file is not the one that is meant.
    """
    file = session.get(File, upload.file_id) if upload.file_id is not None else None
    if file is not None:
        files.check_digest(Stored(file.bytes, file.sha256), expected=sha256)
    return file if file is not None and file.deleted_at is None else None


def claim(
    session: Session,
    *,
    project_id: str,
    upload_id: str,
    part_ids: list[str],
    sha256: str | None = None,
    md5: str | None = None,
    now: datetime | None = None,
) -> Assembly:
    """Begin to complete an upload: pending, or left by a process that was silent for a while.

    Args:
        session: an open transaction.
        project_id: whose it is.
        upload_id: which.
        part_ids: its parts in the order of their bytes.
        sha256: what the whole must be, in hexadecimal.
        md5: the same.
        now: what the time is taken to be, in place of the database's clock.

    Raises:
        Conflict: it is over, or another process completes it.
        Invalid: the parts do not make the file that was announced.
    """
    upload = get_upload(session, project_id=project_id, upload_id=upload_id)
    if None not in (upload.sha256, sha256) and upload.sha256 != sha256:
        raise Invalid(
            f"sha256: {upload.sha256} was announced when the upload began",
            param="sha256",
            code="sha256_mismatch",
        )
    left = (Upload.state == UploadState.completing) & (Upload.lease_expires_at < database_now(now=now))
    taken = session.execute(
        update(Upload)
        .where(Upload.id == upload_id, or_(takes_parts(now), left))
        .values(
            state=UploadState.completing,
            fence=Upload.fence + 1,
            lease_expires_at=database_now(plus=LEASE_SECONDS, now=now),
        )
        .returning(Upload.fence)
        .execution_options(**QUIETLY)
    ).first()
    if taken is None:
        session.refresh(upload)
        raise refusal(upload)
    return Assembly(
        upload_id=upload.id,
        fence=taken.fence,
        project_id=project_id,
        file_id=files.new_id(),
        filename=upload.filename,
        purpose=upload.purpose,
        keep_seconds=upload.keep_seconds,
        size=upload.bytes,
        parts=tuple(_parts(session, upload, part_ids)),
        sha256=sha256 or upload.sha256,
        md5=md5,
    )


def _parts(session: Session, upload: Upload, part_ids: list[str]) -> list[UploadPart]:
    known = {
        part.id: part for part in session.scalars(select(UploadPart).where(UploadPart.upload_id == upload.id))
    }
    unknown = next((part_id for part_id in part_ids if part_id not in known), None)
    if unknown is not None:
        raise Invalid(
            f"part_ids: {upload.id} has no part {unknown!r}", param="part_ids", code="part_not_found"
        )
    parts = [known[part_id] for part_id in part_ids]
    size = sum(part.bytes for part in parts)
    if size != upload.bytes:
        raise Invalid(
            f"part_ids: these have {size} bytes, but {upload.bytes} were announced; send what is missing",
            param="part_ids",
            code="wrong_size",
        )
    if upload.part_bytes is not None and [part.number for part in parts] != list(range(len(known))):
        raise Invalid(
            "part_ids: name the parts of a direct upload once each, in the order of its `part_urls`",
            param="part_ids",
            code="wrong_order",
        )
    return parts


def complete(
    database: Database,
    store: ObjectStore,
    mine: Assembly,
    *,
    and_then: Callable[[Session], AnswerT],
    clock: Callable[[], float] = time.monotonic,
) -> AnswerT:
    """Write the parts to the file's key while checking them, then the file's row, and end the upload.

    Slow. An upload that could not be completed takes parts again, and nothing is left at the key.

    Args:
        database: where the upload is.
        store: where its parts are.
        mine: what ``claim`` returned, in a transaction that is over.
        and_then: what is to be done in the transaction that completes it.
        clock: seconds that pass.

    Returns:
        what ``and_then`` did.

    Raises:
        Invalid: a part is not there, or it or the whole is not what was announced.
        Conflict: the upload was cancelled meanwhile, or another process took it over.
    """
    kept = False
    try:
        try:
            stored = _assemble(database, store, mine, clock=clock)
            with transaction(database) as session:
                file = _finish(session, mine, stored=stored)
                answer = and_then(session)
                kept = True
        finally:
            # After a commit that failed nobody knows whether the row is there: rather bytes without a row.
            if not kept:
                store.delete(mine.key)
    except BaseException:
        with transaction(database) as session:
            _update(session, mine, state=UploadState.pending, lease_expires_at=None)
        raise
    files.settle(database, store, file=file, key=mine.key)
    return answer


def _assemble(
    database: Database, store: ObjectStore, mine: Assembly, *, clock: Callable[[], float]
) -> Stored:
    md5 = hashlib.md5(usedforsecurity=False)
    beat = _every(BEAT_SECONDS, lambda: _renew(database, mine), clock=clock)

    def checked() -> Iterator[bytes]:
        for part in mine.parts:
            for piece in pieces.checked_bytes(store, part):
                beat()
                if mine.md5 is not None:
                    md5.update(piece)
                yield piece

    read = checked()
    stored = store.put(mine.key, buffered(Pulled(lambda: next(read, b""))), mine.size)
    files.check_digest(stored, expected=mine.sha256)
    if mine.md5 not in (None, md5.hexdigest()):
        raise Invalid(
            f"md5: the bytes that came have {md5.hexdigest()}: send them again",
            param="md5",
            code="md5_mismatch",
        )
    return stored


def _finish(session: Session, mine: Assembly, *, stored: Stored) -> File:
    if not _update(session, mine, state=UploadState.completed, lease_expires_at=None):
        raise _lost(mine)
    file = files.create_file(
        session,
        project_id=mine.project_id,
        file_id=mine.file_id,
        filename=mine.filename,
        purpose=mine.purpose,
        stored=stored,
        key=mine.key,
        keep_seconds=mine.keep_seconds,
        reserved=mine.size,
    )
    session.execute(
        update(Upload).where(Upload.id == mine.upload_id).values(file_id=file.id).execution_options(**QUIETLY)
    )
    return file


def _lost(mine: Assembly) -> Conflict:
    return Conflict(
        f"{mine.upload_id} was cancelled, or is completed elsewhere: look at it", code="upload_lost"
    )


def _renew(database: Database, mine: Assembly) -> None:
    with transaction(database) as session:
        if not _update(session, mine, lease_expires_at=database_now(plus=LEASE_SECONDS)):
            raise _lost(mine)


def _update(session: Session, mine: Assembly, **values: Any) -> bool:
    """Change the upload while it is claimed; False when it no longer is."""
    changed = session.execute(
        update(Upload)
        .where(
            Upload.id == mine.upload_id,
            Upload.state == UploadState.completing,
            Upload.fence == mine.fence,
        )
        .values(**values)
        .returning(Upload.id)
        .execution_options(**QUIETLY)
    ).first()
    return changed is not None


def _every(seconds: float, act: Callable[[], None], *, clock: Callable[[], float]) -> Callable[[], None]:
    """Return what acts when it is called, but not more often than every so many seconds."""
    last = clock()

    def maybe() -> None:
        nonlocal last
        if clock() - last >= seconds:
            last = clock()
            act()

    return maybe
