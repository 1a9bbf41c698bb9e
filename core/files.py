"""Uploaded files: bytes in the store, a row that tells of them."""

from datetime import datetime, timedelta
from itertools import islice

from sqlalchemy import exists, select, update
from sqlalchemy.orm import Session

from core.clock import utcnow
from core.db import Database, transaction
from core.errors import Conflict, NotFound
from core.ids import new_id as _new_id
from core.models import Dataset, DatasetState, File
from core.paging import Page, page
from core.storage.objects import Stored
from core.storage.store import ObjectStore

FOLDER = "files"
PURGED = ""  # the key of a file whose bytes are gone
LOST_AFTER = timedelta(days=1)
BATCH = 500


def new_id() -> str:
    """Return the id of a file that is about to be uploaded."""
    return _new_id("file-")


def object_key(*, project_id: str, file_id: str) -> str:
    """Return where a file's bytes go."""
    return f"{FOLDER}/{project_id}/{file_id}"


def create_file(
    session: Session,
    *,
    project_id: str,
    file_id: str | None = None,
    filename: str,
    purpose: str,
    stored: Stored,
    key: str,
) -> File:
    """Write the row of bytes that are in the store."""
    file = File(
        id=file_id or new_id(),
        project_id=project_id,
        filename=filename,
        purpose=purpose,
        bytes=stored.size,
        sha256=stored.sha256,
        key=key,
    )
    session.add(file)
    session.flush()
    return file


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
        Conflict: a dataset is being made from it.
    """
    file = get_file(session, project_id=project_id, file_id=file_id)
    in_use = exists().where(Dataset.file_id == file_id, Dataset.state == DatasetState.validating)
    deleted = session.execute(
        update(File)
        .where(File.id == file_id, File.deleted_at.is_(None), ~in_use)
        .values(deleted_at=utcnow())
        .returning(File.id)
        .execution_options(synchronize_session=False)
    ).first()
    if deleted is None:
        raise Conflict(f"a dataset is being made from {file_id}; wait until it is ready", code="file_in_use")
    session.refresh(file)
    return file


def purge(database: Database, store: ObjectStore, *, limit: int = 100) -> int:
    """Take the bytes of deleted files out of the store; return how many files."""
    statement = select(File).where(File.deleted_at.is_not(None), File.key != PURGED).limit(limit)
    with transaction(database) as session:
        deleted = list(session.scalars(statement))
    for file in deleted:
        store.delete(file.key)
    if deleted:
        with transaction(database) as session:
            session.execute(update(File).where(File.id.in_([file.id for file in deleted])).values(key=PURGED))
    return len(deleted)


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
        for key in batch:
            found = None if key in known else store.stat(key)
            if found is not None and found.modified < before:
                store.delete(key)
                deleted += 1
    return deleted
