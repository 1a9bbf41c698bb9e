"""What uploads leave behind: those that nobody completed, and the parts of those that are over."""

from datetime import datetime, timedelta
from itertools import islice

from sqlalchemy import and_, delete, or_, select, update

from core import blobs
from core.clock import database_now, utcnow
from core.db import Database, transaction
from core.models import Upload, UploadPart, UploadState
from core.storage.store import ObjectStore
from core.uploads.uploads import FOLDER, OPEN, QUIETLY, prefix_of

KEEP_SECONDS = 30 * 24 * 3600.0
LOST_AFTER = timedelta(days=1)
BATCH = 500
OVER = (UploadState.completed, UploadState.cancelled, UploadState.expired)


def expire(database: Database, *, now: datetime | None = None) -> int:
    """End uploads that were not completed in time and free what was held for them; return how many."""
    moment = database_now(now=now)
    left = and_(Upload.state == UploadState.completing, Upload.lease_expires_at < moment)
    with transaction(database) as session:
        expired = session.execute(
            update(Upload)
            .where(or_(Upload.state == UploadState.pending, left), Upload.expires_at <= moment)
            .values(state=UploadState.expired, lease_expires_at=None)
            .returning(Upload.project_id, Upload.bytes)
            .execution_options(**QUIETLY)
        ).all()
        for project_id, size in sorted(expired):
            blobs.charge(session, project_id=project_id, size=-size)
    return len(expired)


def clear(database: Database, store: ObjectStore, *, limit: int = 20, now: datetime | None = None) -> int:
    """Delete the parts of uploads that are over, and rows of those long over; return how many lost parts."""
    over = select(Upload.id, Upload.project_id).where(Upload.cleared_at.is_(None), Upload.state.in_(OVER))
    with transaction(database) as session:
        cleared = session.execute(over.limit(limit)).all()
    for upload_id, project_id in cleared:
        for key in store.list(prefix_of(project_id, upload_id)):
            store.delete(key)
    ids = [upload_id for upload_id, _ in cleared]
    with transaction(database) as session:
        if ids:
            session.execute(
                delete(UploadPart).where(UploadPart.upload_id.in_(ids)).execution_options(**QUIETLY)
            )
            session.execute(
                update(Upload)
                .where(Upload.id.in_(ids))
                .values(cleared_at=database_now(now=now))
                .execution_options(**QUIETLY)
            )
        old = Upload.cleared_at < database_now(plus=-KEEP_SECONDS, now=now)
        session.execute(delete(Upload).where(old).execution_options(**QUIETLY))
    return len(cleared)


def clear_lost(database: Database, store: ObjectStore, *, now: datetime | None = None) -> int:
    """Delete parts of a day or older whose upload is over or not there; return how many objects.

    A part on its way, or a signed address, may outlive the upload; what comes after ``clear`` ends here.
    """
    before = (now or utcnow()) - LOST_AFTER
    deleted = 0
    keys = store.list(f"{FOLDER}/")
    while batch := list(islice(keys, BATCH)):
        of_uploads = {key: key.split("/")[2] for key in batch if key.count("/") > 2}
        with transaction(database) as session:
            still_open = set(
                session.scalars(
                    select(Upload.id).where(Upload.id.in_(set(of_uploads.values())), Upload.state.in_(OPEN))
                )
            )
        for key in batch:
            found = None if of_uploads.get(key) in still_open else store.stat(key)
            if found is not None and found.modified < before:
                store.delete(key)
                deleted += 1
    return deleted
