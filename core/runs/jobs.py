"""Jobs: made, found, listed."""

import secrets
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from core import datasets, registry
from core.errors import Invalid, NotFound
from core.events import NewEvent, tell
from core.ids import new_id
from core.models import Job, JobState
from core.paging import Page, page
from core.runs.lifecycle import lock, start_if_valid
from spin_engine.config import METHODS, Method, with_recommended

METHOD: TypeAdapter[Any] = TypeAdapter(Method)
SEEDS = 2**31


def create_job(
    session: Session,
    *,
    project_id: str,
    model: str,
    training_file: str,
    method: Any,
    validation_file: str | None = None,
    seed: int | None = None,
    suffix: str | None = None,
    metadata: dict[str, str] | None = None,
    priority: int = 0,
) -> Job:
    """Make a job and start it, at once or when its datasets are ready.

    Args:
        session: an open transaction. project_id: whose it is. model: a base model, a result, or a
            checkpoint's id. training_file: id of a dataset, or of a file, from which a dataset is then
            made. method: ``{"type": T, T: {"hyperparameters": {...}}}``; what is missing or ``"auto"`` is
            resolved here.
        validation_file: as ``training_file``; measured, never trained on.
        seed: drawn when missing.
        suffix: becomes a part of the result's name.
        metadata: kept with the job.
        priority: higher goes first.

    Raises:
        Invalid: the method is not right; ``param`` is the path of the first wrong field.
        NotFound: there is no such model, dataset or file in this project.
    """
    start = registry.resolve_for_use(session, project_id=project_id, name=model, param="model")
    resolved = resolved_method(method, start.defaults)
    training = datasets.dataset_for_training(
        session, project_id=project_id, given=training_file, param="training_file"
    )
    validation = None
    if validation_file is not None:
        validation = datasets.dataset_for_training(
            session, project_id=project_id, given=validation_file, param="validation_file"
        )
    job = Job(
        id=new_id("ftjob-"),
        project_id=project_id,
        model_id=start.model_id,
        base_model_id=start.base_model_id,
        pipeline=start.pipeline,
        pipeline_digest=start.digest,
        weights=start.weights,
        dataset_id=training.id,
        validation_dataset_id=None if validation is None else validation.id,
        method=resolved,
        seed=secrets.randbelow(SEEDS) if seed is None else seed,
        suffix=suffix,
        metadata_=metadata,
        priority=priority,
        state=JobState.validating_files,
    )
    session.add(job)
    session.flush()
    tell(
        session,
        job.id,
        [NewEvent("state", "The job is created.", {"state": JobState.validating_files.value})],
    )
    start_if_valid(session, lock(session, job.id))
    session.refresh(job)
    return job


def resolved_method(method: Any, defaults: dict[str, Any] | None) -> dict[str, Any]:
    """Return a method with every hyperparameter: the user's, else the model's recommended one, else the default.

    Raises:
        Invalid: naming each field that is wrong; ``param`` is the first one.
    """
    try:
        found = METHOD.validate_python(with_recommended(method, defaults or {}))
    except ValidationError as error:
        wrong = [_wrong_field(each) for each in error.errors(include_url=False, include_context=False)]
        raise Invalid(
            "; ".join(message for _, message in wrong[:5]), param=wrong[0][0], code="invalid_method"
        ) from None
    dumped: dict[str, Any] = METHOD.dump_python(found, mode="json")
    return dumped


def _wrong_field(error: Mapping[str, Any]) -> tuple[str, str]:
    """Return the path of a field, as the user wrote it, and what is wrong with it."""
    where = list(error["loc"])[1:]  # the first part is the method's type, which pydantic tells twice
    while where and not _is_written(where[-1]):
        where.pop()
    path = ".".join(["method", *map(str, where)])
    given = error.get("input")
    match error["type"]:
        case "union_tag_invalid" | "union_tag_not_found":
            return "method.type", f"method.type must be one of {', '.join(METHODS)}"
        case "extra_forbidden":
            return path, f"{path}: unknown field; leave it out, or check its spelling in /docs"
        case "value_error":
            return path, f"{path}: {error['msg'].removeprefix('Value error, ')}"
    text = str(error["msg"])
    shown = f", not {given!r}" if isinstance(given, str | int | float) and len(repr(given)) <= 60 else ""
    return path, f"{path}: {text[:1].lower()}{text[1:]}{shown}"


def _is_written(part: str | int) -> bool:
    """Tell whether a part of an error's place is a key or an index, not the name of one of pydantic's branches."""
    return isinstance(part, int) or (part.isidentifier() and part not in {"int", "float", "str", "tuple"})


def get_job(session: Session, *, project_id: str, job_id: str) -> Job:
    """Return a job as it is now; NotFound in another project."""
    job = session.scalar(
        select(Job)
        .where(Job.id == job_id, Job.project_id == project_id)
        .execution_options(populate_existing=True)
    )
    if job is None:
        raise NotFound(f"there is no job {job_id} in this project", param="job_id", code="job_not_found")
    return job


def list_jobs(
    session: Session,
    *,
    project_id: str,
    after: str | None = None,
    limit: int = 20,
    metadata: Mapping[str, str] | None = None,
) -> Page[Job]:
    """List the project's jobs, newest first; only those that carry all of ``metadata``."""
    statement = select(Job).where(Job.project_id == project_id)
    for key, value in (metadata or {}).items():
        if '"' in key or "\\" in key:
            raise Invalid(f"metadata[{key}]: a quote cannot be searched for", param="metadata")
        statement = statement.where(Job.metadata_[key].as_string() == value)
    return page(session, statement, by=Job.id, after=after, limit=limit)
