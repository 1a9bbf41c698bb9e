"""Datasets: immutable, numbered versions of pictures with captions, made from a file by a unit.

One file may be split into two datasets, for training and validation. Both come to be at once, by one unit.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any

from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import Session

from core import outbox
from core.clock import utcnow
from core.errors import Invalid, NotFound
from core.ids import new_id
from core.ingest.options import Options
from core.ingest.split import TRAINING, VALIDATION
from core.models import Dataset, DatasetState, File, Job, JobState, Project, Unit, UnitKind, UnitState
from core.paging import Page, page
from core.queue import RUN_UNIT
from core.runs.lifecycle import QUIETLY, lock, start_if_valid
from core.webhooks.events import EventType, emit

BEFORE_ALL_JOBS = 1000


def create_dataset(
    session: Session, *, project_id: str, name: str, file_id: str, options: Options | None = None
) -> Dataset:
    """Make the next version of a name from a file; a worker validates it.

    With a split the dataset is the training part. The other, its ``sibling_id``, is the next version of
    NAME.validation.

    Raises:
        Invalid: there is no such file.
    """
    file = _lock_file(session, project_id, file_id)
    if file is None:
        raise Invalid(f"there is no file {file_id}: upload it first", param="file", code="file_not_found")
    return _create(session, name, file, options)


def create_from_votes(
    session: Session, *, project_id: str, name: str, comparison_id: str, options: Options | None = None
) -> Dataset:
    """Make the next version of a name from the votes of a comparison (core.comparisons.pairs).

    It has a file as others have, because every dataset must; this one never had bytes, and nobody sees it.
    """
    file = File(
        id=new_id("file-"),
        project_id=project_id,
        filename=f"{comparison_id}.tar",
        purpose="fine-tune",
        bytes=0,
        sha256="",
        key="",
        deleted_at=utcnow(),
    )
    session.add(file)
    session.flush()
    return _create(session, name, file, options, comparison_id)


def get_dataset(session: Session, *, project_id: str, dataset_id: str) -> Dataset:
    """Return a dataset; NotFound when it is not the project's."""
    dataset = session.get(Dataset, dataset_id)
    if dataset is None or dataset.project_id != project_id:
        raise NotFound(f"there is no dataset {dataset_id}", param="dataset_id", code="dataset_not_found")
    return dataset


def list_datasets(
    session: Session, *, project_id: str, after: str | None, limit: int, name: str | None = None
) -> Page[Dataset]:
    """Return the project's datasets, or those of a name, newest first; Invalid when ``after`` is none."""
    statement = select(Dataset).where(Dataset.project_id == project_id)
    if name is not None:
        statement = statement.where(Dataset.name == name)
    return page(session, statement, by=Dataset.id, after=after, limit=limit)


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
        select(func.max(Dataset.id)).where(
            Dataset.file_id == file.id, Dataset.state != DatasetState.failed, Dataset.part.is_(None)
        )
    )
    known = None if newest is None else _lock(session, project_id, newest)
    return known or _create(session, _name_of(file), file)


def progress_of(session: Session, datasets: Iterable[Dataset]) -> dict[str, dict[str, Any]]:
    """Return how far those are that are being validated, ``{step, of, ...}`` by id, as far as it is told."""
    makers = {
        each.id: each.sibling_id if each.part == VALIDATION else each.id
        for each in datasets
        if each.state is DatasetState.validating
    }
    running = select(Unit.dataset_id, Unit.progress).where(
        Unit.dataset_id.in_(set(makers.values())), Unit.state == UnitState.running
    )
    told = {row.dataset_id: row.progress for row in session.execute(running)} if makers else {}
    return {each: progress for each, made in makers.items() if (progress := told.get(made)) is not None}


def complete_dataset(session: Session, *, dataset_id: str, output: dict[str, Any]) -> None:
    """Make a dataset ready, and its other part if it has one, and let the jobs that waited for them start.

    Args:
        session: an open transaction, which has proven the claim of the ingest unit.
        dataset_id: of the dataset that was validated.
        output: ``core.ingest.dataset.Ingested`` as JSON; what was names of files are manifests with keys.
    """
    parts = {dataset_id: _told(output)}
    if output.get("held_out") is not None:
        sibling_id = session.scalar(select(Dataset.sibling_id).where(Dataset.id == dataset_id))
        assert sibling_id is not None, "a split has two parts from the beginning"
        parts[sibling_id] = _told(output["held_out"])
    _end(session, DatasetState.ready, parts)


def fail_dataset(session: Session, *, dataset_id: str, reason: str, message: str) -> None:
    """Mark a dataset as unusable, and its other part, and end the jobs that waited for them."""
    told = {"failure": {"reason": reason, "message": message}}
    sibling_id = session.scalar(select(Dataset.sibling_id).where(Dataset.id == dataset_id))
    parts = [dataset_id] if sibling_id is None else [dataset_id, sibling_id]
    _end(session, DatasetState.failed, dict.fromkeys(parts, told))


def note_rejected(
    session: Session,
    *,
    dataset_id: str,
    rejected: list[dict[str, Any]],
    rejections: list[dict[str, Any]],
) -> None:
    """Keep the rows that were left out of a dataset that is about to fail, as ``Dataset`` tells of them."""
    session.execute(
        update(Dataset)
        .where(Dataset.id == dataset_id, Dataset.state == DatasetState.validating)
        .values(rejected=rejected, rejections=rejections)
        .execution_options(**QUIETLY)
    )


def _end(session: Session, state: DatasetState, parts: Mapping[str, dict[str, Any]]) -> None:
    """End datasets that are being validated, with what is told of each, and wake the jobs that waited."""
    event = EventType.dataset_ready if state is DatasetState.ready else EventType.dataset_failed
    ended: list[str] = []
    for dataset_id, told in parts.items():
        updated = session.scalars(
            update(Dataset)
            .where(Dataset.id == dataset_id, Dataset.state == DatasetState.validating)
            .values(state=state, **told)
            .returning(Dataset.id)
            .execution_options(**QUIETLY)
        ).all()
        ended += updated
    for dataset_id in ended:
        dataset = session.get_one(Dataset, dataset_id, populate_existing=True)
        data = {"id": dataset_id, "status": state.value}
        emit(session, project_id=dataset.project_id, event=event, data=data)
    waiting = session.scalars(
        select(Job.id)
        .where(
            or_(Job.dataset_id.in_(ended), Job.validation_dataset_id.in_(ended)),
            Job.state == JobState.validating_files,
        )
        .order_by(Job.id)
    ).all()
    # All of them before any ends: an end locks the project, and the order is job, project.
    for job in [lock(session, job_id) for job_id in waiting]:
        start_if_valid(session, job)


def _told(output: dict[str, Any]) -> dict[str, Any]:
    told = {name: output[name] for name in ("rows", "rejected", "statistics", "sha256", "shards", "pages")}
    return told | {name: output.get(name, []) for name in ("rejections", "fingerprints")}


def _create(
    session: Session, name: str, file: File, options: Options | None = None, comparison_id: str | None = None
) -> Dataset:
    # Two versions must not get one number: makers of a project's datasets go one after the other.
    session.execute(
        update(Project)
        .where(Project.id == file.project_id)
        .values(name=Project.name)
        .execution_options(**QUIETLY)
    )
    dataset = _next_version(session, name, file, options, comparison_id)
    if options is not None and options.split is not None:
        held_out = _next_version(session, f"{name}.{VALIDATION}", file, options, comparison_id)
        dataset.part, held_out.part = TRAINING, VALIDATION
        dataset.sibling_id, held_out.sibling_id = held_out.id, dataset.id
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


def _next_version(
    session: Session, name: str, file: File, options: Options | None, comparison_id: str | None
) -> Dataset:
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
        options=None if options is None else options.as_json(),
        comparison_id=comparison_id,
        created_at=utcnow(),
    )
    session.add(dataset)
    session.flush()
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
