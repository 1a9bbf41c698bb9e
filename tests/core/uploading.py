"""Files and uploads as the tests of core make them, without HTTP."""

import hashlib
import io
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select

from core import files, keys
from core.clock import utcnow
from core.db import Database, transaction
from core.ids import new_id
from core.models import Blob, File, Project, Upload, UploadPart
from core.storage.store import ObjectStore
from core.uploads import assembly, direct, pieces, uploads

PROJECT = keys.DEFAULT_PROJECT


def upload_file(
    database: Database,
    store: ObjectStore,
    data: bytes,
    *,
    project_id: str = PROJECT,
    purpose: str = "fine-tune",
    keep_seconds: int | None = None,
) -> File:
    """Store bytes and write their file, as the API does."""
    file_id = files.new_id()
    key = files.object_key(project_id=project_id, file_id=file_id)
    stored = store.put(key, io.BytesIO(data), None)
    file = None
    try:
        with transaction(database) as session:
            file = files.create_file(
                session,
                project_id=project_id,
                file_id=file_id,
                filename="a.zip",
                purpose=purpose,
                stored=stored,
                key=key,
                keep_seconds=keep_seconds,
            )
    finally:
        if file is None:
            store.delete(key)
    files.settle(database, store, file=file, key=key)
    return file


def delete_file(database: Database, file: File) -> None:
    with transaction(database) as session:
        files.delete_file(session, project_id=file.project_id, file_id=file.id)


def content(database: Database, store: ObjectStore, file: File) -> bytes:
    """Read a file's bytes by what its row says now."""
    with transaction(database) as session:
        key = files.get_file(session, project_id=file.project_id, file_id=file.id).key
    with store.open(key) as stream:
        return stream.read()


def begin(database: Database, size: int, **told: Any) -> Upload:
    with transaction(database) as session:
        return uploads.create_upload(
            session,
            **{"project_id": PROJECT, "filename": "a.zip", "purpose": "fine-tune"} | told,
            mime_type="application/zip",
            size=size,
        )


def add_part(database: Database, store: ObjectStore, upload: Upload, data: bytes) -> UploadPart:
    """Store a part and write its row, as the API does."""
    part_id = new_id("part-")
    key = uploads.part_key(upload, part_id=part_id)
    stored = store.put(key, io.BytesIO(data), None)
    part = None
    try:
        with transaction(database) as session:
            part = pieces.add_part(
                session, project_id=upload.project_id, upload_id=upload.id, part_id=part_id, stored=stored
            )
    finally:
        if part is None or part.id != part_id:
            store.delete(key)
    return part


def begin_direct(database: Database, size: int, **told: object) -> tuple[Upload, list[UploadPart]]:
    with transaction(database) as session:
        upload = direct.create_upload(
            session,
            **{"part_bytes": 65536, "part_sha256": None} | told,  # type: ignore[arg-type]  # by their names
            size=size,
            project_id=PROJECT,
            filename="a.zip",
            purpose="fine-tune",
            mime_type="",
        )
        parts = session.scalars(
            select(UploadPart).where(UploadPart.upload_id == upload.id).order_by(UploadPart.number)
        )
        return upload, list(parts)


def put(store: ObjectStore, part: UploadPart, data: bytes) -> None:
    """Put bytes where a signed address would."""
    store.put(part.key, io.BytesIO(data), len(data))


def claim(database: Database, upload: Upload, *parts: UploadPart, **told: Any) -> assembly.Assembly:
    with transaction(database) as session:
        return assembly.claim(
            session,
            project_id=upload.project_id,
            upload_id=upload.id,
            part_ids=[part.id for part in parts],
            **told,
        )


def finish(database: Database, store: ObjectStore, mine: assembly.Assembly, **told: Any) -> File:
    """Complete a claimed upload and return its file."""
    assembly.complete(database, store, mine, and_then=lambda _: None, **told)
    with transaction(database) as session:
        return files.get_file(session, project_id=mine.project_id, file_id=mine.file_id)


def account(database: Database, project_id: str = PROJECT) -> tuple[int, int]:
    """Return what a project is said to store, and what its files and open uploads really come to."""
    with transaction(database) as session:
        said = session.get_one(Project, project_id, populate_existing=True).stored_bytes
        live = select(File.key, File.bytes).where(File.project_id == project_id, File.deleted_at.is_(None))
        held = sum({row.key: row.bytes for row in session.execute(live)}.values())
        is_open = (Upload.project_id == project_id) & Upload.state.in_(uploads.OPEN)
        reserved = session.scalar(select(func.coalesce(func.sum(Upload.bytes), 0)).where(is_open))
        counted = session.scalar(
            select(func.coalesce(func.sum(Blob.bytes), 0)).where(
                Blob.project_id == project_id, Blob.files > 0
            )
        )
        assert held == counted, "a blob's count of files is wrong"
    return said, held + int(reserved or 0)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def soon() -> datetime:
    """Return a moment when every lease of now has run out, and no upload of now has expired."""
    return utcnow() + timedelta(seconds=assembly.LEASE_SECONDS + 1)
