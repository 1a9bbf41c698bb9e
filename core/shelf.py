"""Datasets as people look for them: short rows, versions of a name, what was made of one; and no longer."""

from sqlalchemy import delete, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, load_only

from core.datasets import get_dataset
from core.errors import Conflict
from core.models import Attempt, Dataset, DatasetPairs, DatasetState, Job, Unit
from core.paging import Page, page
from core.runs.lifecycle import QUIETLY

NAMED = 20
SHORT = load_only(
    Dataset.id,
    Dataset.project_id,
    Dataset.name,
    Dataset.version,
    Dataset.state,
    Dataset.rows,
    Dataset.failure,
    Dataset.part,
    Dataset.sibling_id,
    Dataset.created_at,
    raiseload=True,
)


def short_list(
    session: Session, *, project_id: str, after: str | None = None, limit: int = 20, name: str | None = None
) -> Page[Dataset]:
    """Return datasets, newest first, without what may be long: manifests, statistics, rejected rows.

    Args:
        session: an open transaction.
        project_id: whose.
        after: continue behind this id.
        limit: how many at most.
        name: only the versions of this name.
    """
    statement = select(Dataset).where(Dataset.project_id == project_id).options(SHORT)
    if name is not None:
        statement = statement.where(Dataset.name == name)
    return page(session, statement, by=Dataset.id, after=after, limit=limit)


def jobs_on(session: Session, *, project_id: str, dataset_id: str, limit: int = NAMED) -> list[Job]:
    """Return the newest jobs that train or are measured on a dataset."""
    found = (
        select(Job)
        .where(or_(Job.dataset_id == dataset_id, Job.validation_dataset_id == dataset_id))
        .where(Job.project_id == project_id)
        .order_by(Job.id.desc())
        .limit(limit)
    )
    return list(session.scalars(found))


def delete_dataset(session: Session, *, project_id: str, dataset_id: str) -> list[str]:
    """Delete a dataset that no job needs, with its other part; return the ids that are gone.

    Both parts of a split were made by one unit and lie together. What lies in the store is swept later
    (core.runs.garbage); the uploaded file stays.

    Raises:
        Conflict: it is being validated, or something was made of it.
    """
    dataset = get_dataset(session, project_id=project_id, dataset_id=dataset_id)
    parts = [dataset_id] if dataset.sibling_id is None else [dataset_id, dataset.sibling_id]
    # Whoever makes a job holds the dataset's row: it is seen here, or finds nothing there.
    session.execute(
        update(Dataset)
        .where(Dataset.id.in_(parts))
        .values(version=Dataset.version)
        .execution_options(**QUIETLY)
    )
    state = session.scalar(select(Dataset.state).where(Dataset.id == dataset_id))
    if state is DatasetState.validating:
        raise Conflict(f"{dataset_id} is being validated: delete it when that has ended")
    for part in parts:
        jobs = jobs_on(session, project_id=project_id, dataset_id=part, limit=1)
        if jobs:
            raise Conflict(
                f"{part} stays: {jobs[0].id} was made with it, and tells what its model has learned from",
                param="dataset_id",
                code="dataset_in_use",
            )
    units = select(Unit.id).where(Unit.dataset_id.in_(parts))
    try:
        with session.begin_nested():
            session.execute(delete(Attempt).where(Attempt.unit_id.in_(units)).execution_options(**QUIETLY))
            for of_these in (
                delete(Unit).where(Unit.dataset_id.in_(parts)),
                delete(DatasetPairs).where(DatasetPairs.dataset_id.in_(parts)),
                delete(Dataset).where(Dataset.id.in_(parts)),
            ):
                session.execute(of_these.execution_options(**QUIETLY))
    except IntegrityError as error:  # what other tables hold on to, they hold on to
        raise Conflict(
            f"{dataset_id} stays: something else was made of it", param="dataset_id", code="dataset_in_use"
        ) from error
    return parts
