"""The bytes of files: kept once in a project, and counted while a file consists of them.

A project's ``stored_bytes`` are, at each commit, the bytes of its blobs that have files and of its open
uploads. Who needs several rows takes them in this order: upload, file, blob, project.
"""

from sqlalchemy import delete, or_, select, update
from sqlalchemy.orm import Session

from core.errors import TooMany
from core.models import Blob, File, Project
from core.storage.objects import Stored
from core.upsert import insert

QUIETLY = {"synchronize_session": False}


def hold(session: Session, *, project_id: str, key: str, stored: Stored, reserved: int = 0) -> str:
    """Count bytes of the store for one more file; return the key of those to use.

    That is another key where the project has the same bytes already: then nobody needs those at ``key``.

    Args:
        session: an open transaction.
        project_id: whose they are.
        key: where they lie.
        stored: what they are.
        reserved: what the project's account holds for them already.

    Raises:
        TooMany: the project may not store so much.
    """
    made = insert(session, Blob).values(
        key=key, project_id=project_id, sha256=stored.sha256, bytes=stored.size, files=1
    )
    held = session.execute(
        made.on_conflict_do_update(
            index_elements=[Blob.project_id, Blob.sha256], set_={"files": Blob.files + 1}
        ).returning(Blob.key, Blob.files)
    ).one()
    charge(session, project_id=project_id, size=(stored.size if held.files == 1 else 0) - reserved)
    return str(held.key)


def let_go(session: Session, *, key: str) -> bool:
    """Count bytes for one file less; False when no blob tells of them."""
    held = session.execute(
        update(Blob)
        .where(Blob.key == key, Blob.files > 0)
        .values(files=Blob.files - 1)
        .returning(Blob.files, Blob.project_id, Blob.bytes)
        .execution_options(**QUIETLY)
    ).first()
    if held is not None and held.files == 0:
        charge(session, project_id=held.project_id, size=-held.bytes)
    return held is not None


def charge(session: Session, *, project_id: str, size: int) -> None:
    """Add to what a project stores; a negative size always goes.

    Raises:
        TooMany: the project may not store so much.
    """
    fits = or_(Project.max_bytes.is_(None), Project.stored_bytes + size <= Project.max_bytes)
    charged = session.execute(
        update(Project)
        .where(Project.id == project_id, *([fits] if size > 0 else []))
        .values(stored_bytes=Project.stored_bytes + size)
        .returning(Project.id)
        .execution_options(**QUIETLY)
    ).first()
    if charged is None:
        raise no_room(size)


def no_room(size: int) -> TooMany:
    """Return what is raised for bytes that a project may not store."""
    return TooMany(
        f"the project may not store {size} bytes more: delete files or cancel uploads, or ask whoever runs "
        "this platform for a higher limit; /v1/project tells how much it may store and stores",
        code="storage_exceeded",
    )


def room(session: Session, *, project_id: str) -> int | None:
    """Return how many bytes more a project may store now; None: without limit."""
    found = session.execute(
        select(Project.max_bytes, Project.stored_bytes).where(Project.id == project_id)
    ).one()
    return None if found.max_bytes is None else max(0, found.max_bytes - found.stored_bytes)


def move(session: Session, *, key: str, to: str) -> bool:
    """Let all files whose bytes were at a key have them from another; False when no blob is there."""
    moved = update(Blob).where(Blob.key == key).values(key=to).returning(Blob.key)
    if session.execute(moved.execution_options(**QUIETLY)).first() is None:
        return False
    session.execute(update(File).where(File.key == key).values(key=to).execution_options(**QUIETLY))
    return True


def forget_unused(session: Session, *, limit: int) -> list[str]:
    """Delete the rows of bytes that no file consists of; return their keys.

    Twins that come later get a row, and bytes, of their own; those that came earlier are counted in it, so
    that it is not deleted. Either way the bytes at these keys are nobody's once this is committed.
    """
    unused = select(Blob.key).where(Blob.files == 0).limit(limit)
    gone = delete(Blob).where(Blob.key.in_(unused), Blob.files == 0).returning(Blob.key)
    return list(session.scalars(gone.execution_options(**QUIETLY)))
