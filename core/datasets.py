"""Datasets: immutable, numbered versions of pictures with captions, each made from a file by its own unit."""

import re
from pathlib import PurePosixPath
from typing import Any

from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import Session

from core import outbox
from core.clock import utcnow
from core.errors import Conflict, Invalid, NotFound
from core.ids import new_id
from core.ingest.limits import Limits
from core.ingest.shards import PageRow, page_rows
from core.models import Dataset, DatasetState, File, Job, JobState, Project, Unit, UnitKind, UnitState
from core.paging import Page, page
from core.queue import RUN_UNIT
from core.runs.lifecycle import QUIETLY, lock, start_if_valid
from core.storage.store import ObjectStore

BEFORE_ALL_JOBS = 1000


def create_dataset(session: Session, *, project_id: str, name: str, file_id: str) -> Dataset:
    """Make the next version of a name from a file; a worker validates it.

    Raises:
        Invalid: there is no such file.
    """
    file = _lock_file(session, project_id, file_id)
    if file is None:
        raise Invalid(f"there is no file {file_id}: upload it first", param="file", code="file_not_found")
    return _create(session, name, file)


def get_dataset(session: Session, *, project_id: str, dataset_id: str) -> Dataset:
    """Return a dataset; NotFound when it is not the project's."""
    dataset = session.get(Dataset, dataset_id)
    if dataset is None or dataset.project_id != project_id:
        raise NotFound(f"there is no dataset {dataset_id}", param="dataset_id", code="dataset_not_found")
    return dataset


def list_datasets(session: Session, *, project_id: str, after: str | None, limit: int) -> Page[Dataset]:
    """Return the project's datasets, newest first; Invalid when ``after`` is none of them."""
    statement = select(Dataset).where(Dataset.project_id == project_id)
    return page(session, statement, by=Dataset.id, after=after, limit=limit)


def rows(store: ObjectStore, dataset: Dataset, *, after: int | None, limit: int) -> Page[PageRow]:
    """Return rows behind the one with index ``after``, in their order; reads the store and needs no session.

    Raises:
        Conflict: the dataset is not ready.
    """
    if dataset.state is not DatasetState.ready:
        raise Conflict(f"{dataset.id} is {dataset.state.value}: it has rows when it is ready")
    assert dataset.pages is not None
    assert dataset.rows is not None
    start = 0 if after is None else after + 1
    end = min(start + limit, dataset.rows)
    found: list[PageRow] = []
    for number in range(start // Limits.page_rows, -(-end // Limits.page_rows)):
        with store.open(dataset.pages[number]["key"]) as stream:
            found += [row for row in page_rows(stream.read()) if start <= row.index < end]
    return Page(found, end < dataset.rows)


def dataset_for_training(session: Session, *, project_id: str, given: str, param: str) -> Dataset:
    """Return the dataset that is meant by its id or by a file's, for which one is made if there is none.

    The row is locked until the transaction ends: the dataset cannot become ready unseen by the new job.

    Raises:
        NotFound: there is neither such a dataset nor such a file.
    """
    dataset = _lock(session, project_id, given)
    if dataset is not None:
        return dataset
    file = _lock_file(session, project_id, given)
    if file is None:
        message = f"{param}: there is no dataset and no file {given}"
        raise NotFound(message, param=param, code="dataset_not_found")
    newest = session.scalar(
        select(func.max(Dataset.id)).where(Dataset.file_id == file.id, Dataset.state != DatasetState.failed)
    )
    known = None if newest is None else _lock(session, project_id, newest)
    return known or _create(session, _name_of(file), file)


def complete_dataset(session: Session, *, dataset_id: str, output: dict[str, Any]) -> None:
    """Make a dataset ready, and let the jobs that waited for it start.

    Args:
        session: an open transaction, which has proven the claim of the ingest unit.
        dataset_id: of the dataset that was validated.
        output: ``core.ingest.dataset.Ingested`` as JSON; ``shards`` and ``pages`` are manifests with keys.
    """
    told = {name: output[name] for name in ("rows", "rejected", "statistics", "sha256", "shards", "pages")}
    _end(session, dataset_id, DatasetState.ready, told)


def fail_dataset(session: Session, *, dataset_id: str, reason: str, message: str) -> None:
    """Mark a dataset as unusable, and end the jobs that waited for it."""
    _end(session, dataset_id, DatasetState.failed, {"failure": {"reason": reason, "message": message}})


def note_rejected(session: Session, *, dataset_id: str, rejected: list[dict[str, Any]]) -> None:
    """Keep the rows that were left out of a dataset that is about to fail."""
    session.execute(
        update(Dataset)
        .where(Dataset.id == dataset_id, Dataset.state == DatasetState.validating)
        .values(rejected=rejected)
        .execution_options(**QUIETLY)
    )


def _end(session: Session, dataset_id: str, state: DatasetState, told: dict[str, Any]) -> None:
    ended = session.scalar(
        update(Dataset)
        .where(Dataset.id == dataset_id, Dataset.state == DatasetState.validating)
        .values(state=state, **told)
        .returning(Dataset.id)
        .execution_options(**QUIETLY)
    )
    if ended is None:
        return
    session.get(Dataset, dataset_id, populate_existing=True)
    waiting = session.scalars(
        select(Job.id)
        .where(
            or_(Job.dataset_id == dataset_id, Job.validation_dataset_id == dataset_id),
            Job.state == JobState.validating_files,
        )
        .order_by(Job.id)
    ).all()
    # All of them before any ends: an end locks the project, and the order is job, project.
    for job in [lock(session, job_id) for job_id in waiting]:
        start_if_valid(session, job)


def _create(session: Session, name: str, file: File) -> Dataset:
    # Two versions must not get one number: makers of a project's datasets go one after the other.
    session.execute(
        update(Project)
        .where(Project.id == file.project_id)
        .values(name=Project.name)
        .execution_options(**QUIETLY)
    )
    newest = session.scalar(
        select(func.max(Dataset.version)).where(Dataset.project_id == file.project_id, Dataset.name == name)
    )
    dataset = Dataset(
        id=new_id("ds-"),
        project_id=file.project_id,
        name=name,
        version=(newest or 0) + 1,
        file_id=file.id,
        state=DatasetState.validating,
        created_at=utcnow(),
    )
    session.add(dataset)
    session.flush()
    unit = Unit(
        id=new_id("unit-"),
        dataset_id=dataset.id,
        kind=UnitKind.ingest,
        priority=BEFORE_ALL_JOBS,
        project_id=dataset.project_id,
        state=UnitState.pending,
        needs=[],
    )
    session.add(unit)
    session.flush()
    outbox.enqueue(session, task=RUN_UNIT[unit.kind], payload=unit.id)
    return dataset


def _name_of(file: File) -> str:
    """Return a name for the dataset of a file that a job was given directly."""
    stem = PurePosixPath(file.filename.replace("\\", "/")).name.partition(".")[0]
    return re.sub(r"[^A-Za-z0-9 ._-]", "-", stem)[:100].lstrip(" ._-") or "dataset"


def _lock(session: Session, project_id: str, dataset_id: str) -> Dataset | None:
    found = session.scalar(
        update(Dataset)
        .where(Dataset.id == dataset_id, Dataset.project_id == project_id)
        .values(version=Dataset.version)
        .returning(Dataset.id)
        .execution_options(**QUIETLY)
    )
    return None if found is None else session.get(Dataset, found, populate_existing=True)


def _lock_file(session: Session, project_id: str, file_id: str) -> File | None:
    """Return a file that cannot be deleted before the transaction ends."""
    found = session.scalar(
        update(File)
        .where(File.id == file_id, File.project_id == project_id, File.deleted_at.is_(None))
        .values(bytes=File.bytes)
        .returning(File.id)
        .execution_options(**QUIETLY)
    )
    return None if found is None else session.get(File, found)
