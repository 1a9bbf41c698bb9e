"""Uploaded files: bytes in the store (core.blobs), a row that tells of them."""

from contextlib import suppress
from datetime import datetime, timedelta
from itertools import islice

from sqlalchemy import exists, select, update
from sqlalchemy.orm import Session

from core import blobs
from core.clock import database_now, utcnow
from core.db import Database, transaction
from core.errors import Conflict, Invalid, NotFound, StoreUnavailable
from core.ids import new_id as _new_id
from core.models import Blob, Dataset, DatasetState, File, ModelImport, TransferState
from core.paging import Page, page
from core.storage.objects import Stored
from core.storage.store import ObjectStore

FOLDER = "files"
PURGED = ""  # the key of a file that has let go of its bytes
LOST_AFTER = timedelta(days=1)
KEEP_SECONDS = (3600, 30 * 24 * 3600)
"""How long files may be kept that are deleted by themselves, at least and at most."""
MAX_NAME = 255
BATCH = 500


def new_id() -> str:
    """Return the id of a file that is about to be uploaded."""
    return _new_id("file-")


def object_key(*, project_id: str, file_id: str) -> str:
    """Return where a file's bytes go."""
    return f"{FOLDER}/{project_id}/{file_id}"


def plain_name(given: str) -> str:
    """Return a file's name without its folders; ValueError when it cannot be shown."""
    name = given.replace("\\", "/").rsplit("/", 1)[-1].strip()
    if not name or len(name) > MAX_NAME or not name.isprintable():
        raise ValueError(f"give a printable file name of at most {MAX_NAME} characters")
    return name


def check_digest(stored: Stored, *, expected: str | None) -> None:
    """Raise Invalid when bytes that came are not those that were meant."""
    if expected not in (None, stored.sha256):
        raise Invalid(
            f"sha256: {expected} was announced, but the {stored.size} bytes that came have {stored.sha256}: "
            "send them again",
            param="sha256",
            code="sha256_mismatch",
        )


def create_file(
    session: Session,
    *,
    project_id: str,
    file_id: str | None = None,
    filename: str,
    purpose: str,
    stored: Stored,
    key: str,
    keep_seconds: int | None = None,
    reserved: int = 0,
) -> File:
    """Write the row of bytes that are in the store. After the commit, ``settle`` the bytes.

    Args:
        session: an open transaction.
        project_id: whose it is.
        file_id: its id, when it was drawn before the bytes came.
        filename: as it is shown.
        purpose: what it is for.
        stored: what its bytes are.
        key: where they lie.
        keep_seconds: when it is deleted by itself; None: never.
        reserved: bytes that the project's account holds for it already.

    Raises:
        TooMany: the project may not store so much.
    """
    now = utcnow()
    file = File(
        id=file_id or new_id(),
        project_id=project_id,
        filename=filename,
        purpose=purpose,
        bytes=stored.size,
        sha256=stored.sha256,
        key=blobs.hold(session, project_id=project_id, key=key, stored=stored, reserved=reserved),
        created_at=now,
        expires_at=None if keep_seconds is None else now + timedelta(seconds=keep_seconds),
    )
    session.add(file)
    session.flush()
    return file


def settle(database: Database, store: ObjectStore, *, file: File, key: str) -> None:
    """Delete the bytes that came for a file when it has those of a twin.

    Where the twin's are gone from the store, all its files get these. The file is there already: a store
    that fails now leaves bytes that ``clear_lost`` finds, and is no reason to refuse it.
    """
    if file.key == key:
        return
    with suppress(StoreUnavailable):
        moved = False
        if not store.exists(file.key):
            with transaction(database) as session:
                moved = blobs.move(session, key=file.key, to=key)
        if not moved:
            store.delete(key)


def get_file(session: Session, *, project_id: str, file_id: str, param: str = "file_id") -> File:
    """Return a file of the project."""
    file = session.get(File, file_id)
    if file is None or file.project_id != project_id or file.deleted_at is not None:
        raise NotFound(f"there is no file {file_id!r}", param=param)
    return file


def list_files(
    session: Session,
    *,
    project_id: str,
    after: str | None = None,
    limit: int = 20,
    purpose: str | None = None,
    ascending: bool = False,
) -> Page[File]:
    """List a project's files."""
    statement = select(File).where(File.project_id == project_id, File.deleted_at.is_(None))
    if purpose is not None:
        statement = statement.where(File.purpose == purpose)
    return page(session, statement, by=File.id, after=after, limit=limit, ascending=ascending)


def delete_file(session: Session, *, project_id: str, file_id: str) -> File:
    """Delete a file; ``purge`` takes its bytes out of the store. Datasets made from it stay.

    Raises:
        Conflict: a dataset or a model is being made from it.
    """
    file = get_file(session, project_id=project_id, file_id=file_id)
    dataset = exists().where(Dataset.file_id == file_id, Dataset.state == DatasetState.validating)
    model = exists().where(ModelImport.file_id == file_id, ModelImport.state == TransferState.pending)
    deleted = session.execute(
        update(File)
        .where(File.id == file_id, File.deleted_at.is_(None), ~dataset, ~model)
        .values(deleted_at=utcnow())
        .returning(File.key)
        .execution_options(synchronize_session=False)
    ).first()
    if deleted is None:
        message = f"a dataset or a model is being made from {file_id}; wait until it is ready"
        raise Conflict(message, code="file_in_use")
    _let_go(session, file_id=file_id, key=deleted.key)
    session.refresh(file)
    return file


def _let_go(session: Session, *, file_id: str, key: str) -> bool:
    """Let a deleted file have no bytes; False when they were its own, without a blob."""
    if not blobs.let_go(session, key=key):
        return False
    session.execute(update(File).where(File.id == file_id).values(key=PURGED))
    return True


def expire(database: Database, *, limit: int = 100, now: datetime | None = None) -> int:
    """Delete files that were to be kept until now; return how many. One that is being read waits."""
    statement = select(File.id, File.project_id).where(
        File.expires_at <= database_now(now=now), File.deleted_at.is_(None)
    )
    deleted = 0
    with transaction(database) as session:
        for file_id, project_id in session.execute(statement.order_by(File.expires_at).limit(limit)).all():
            with suppress(Conflict, NotFound):
                delete_file(session, project_id=project_id, file_id=file_id)
                deleted += 1
    return deleted


def purge(database: Database, store: ObjectStore, *, limit: int = 100) -> int:
    """Take bytes of which no file consists any more out of the store; return how many objects.

    The rows go first: a process that dies in between leaves objects that ``clear_lost`` finds.
    """
    with transaction(database) as session:
        keys = _bytes_of_older_code(session, limit=limit) + blobs.forget_unused(session, limit=limit)
    for key in keys:
        store.delete(key)
    return len(keys)


def _bytes_of_older_code(session: Session, *, limit: int) -> list[str]:
    """Let deleted files go of bytes that they still name, as those do that code before blobs deleted."""
    statement = select(File.id, File.key).where(File.deleted_at.is_not(None), File.key != PURGED)
    keys = []
    for file_id, key in session.execute(statement.limit(limit)).all():
        mine = update(File).where(File.id == file_id, File.key == key).values(key=PURGED)
        gone = session.execute(mine.returning(File.id).execution_options(synchronize_session=False)).first()
        if gone is not None and not blobs.let_go(session, key=key):
            keys.append(key)
    return keys


def clear_lost(database: Database, store: ObjectStore, *, now: datetime | None = None) -> int:
    """Delete bytes that were stored a day ago or earlier and never got a row; return how many objects.

    An upload ends so when its process is killed between the two, or when its commit fails.
    """
    before = (now or utcnow()) - LOST_AFTER
    deleted = 0
    keys = store.list(f"{FOLDER}/")
    while batch := list(islice(keys, BATCH)):
        with transaction(database) as session:
            known = set(session.scalars(select(File.key).where(File.key.in_(batch))))
            known.update(session.scalars(select(Blob.key).where(Blob.key.in_(batch))))
        for key in batch:
            found = None if key in known else store.stat(key)
            if found is not None and found.modified < before:
                store.delete(key)
                deleted += 1
    return deleted
