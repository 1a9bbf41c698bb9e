"""Jobs: made, found, listed."""

import re
import secrets
from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

from pydantic import ValidationError
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core import datasets, registry
from core.db import settings_of
from core.errors import Invalid, NotFound
from core.events import NewEvent, tell
from core.ids import new_id
from core.methods import METHOD
from core.models import DEFAULT_QUEUE, Device, Job, JobState, Model
from core.paging import Page, page
from core.runs.accounts import open_account
from core.runs.lifecycle import lock, start_if_valid
from core.runs.retention import Retention
from spin_engine.config import HYPERPARAMETERS, METHODS, with_recommended

SEEDS = 2**31
NAME = re.compile(r"(?!(?:int|float|str|list|tuple)$)[A-Za-z_][A-Za-z0-9_]*")


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
    queue: str = DEFAULT_QUEUE,
    device: Device | None = None,
    retention: Retention | None = None,
) -> Job:
    """Make a job and start it, at once or when its datasets are ready.

    Args:
        session: an open transaction.
        project_id: whose it is.
        model: a base model, a result, an import, a checkpoint's id, or a registered name.
        training_file: id of a dataset, or of a file, from which a dataset is then made.
        method: ``{"type": T, T: {"hyperparameters": {...}}}``; what is missing or ``"auto"`` is resolved.
        validation_file: as ``training_file``; measured, never trained on.
        seed: drawn when missing.
        suffix: becomes a part of the result's name.
        metadata: kept with the job.
        priority: higher goes first.
        queue: whose workers run it.
        device: what it needs; None: a GPU if its base model has ``gpu_from_parameters`` or more.
        retention: which checkpoints stay; None: as the platform is set.

    Raises:
        TooMany: a limit of the project does not allow it.
        Invalid: the method is not right; ``param`` is the path of the first wrong field.
        NotFound: there is no such model, dataset or file in this project.
    """
    start, resolved = starting_point(session, project_id=project_id, model=model, method=method)
    dataset = partial(datasets.dataset_for_training, session, project_id=project_id)
    job = Job(
        id=new_id("ftjob-"),
        project_id=project_id,
        **_origin(start),
        dataset_id=dataset(given=training_file, param="training_file").id,
        validation_dataset_id=validation_file and dataset(given=validation_file, param="validation_file").id,
        method=resolved,
        seed=secrets.randbelow(SEEDS) if seed is None else seed,
        suffix=suffix,
        metadata_=metadata,
        priority=priority,
        queue=queue,
        device=device or device_for(session, start.base_model_id),
        retention=None if retention is None else retention.model_dump(mode="json"),
        state=JobState.validating_files,
    )
    return _start(session, job)


def starting_point(
    session: Session, *, project_id: str, model: str, method: Any
) -> tuple[registry.Resolved, dict[str, Any]]:
    """Return what a model's name stands for, and the method with every hyperparameter on it.

    Raises:
        Invalid: the method is not right.
        NotFound: there is no such model in this project.
    """
    start = registry.resolve_for_use(session, project_id=project_id, name=model, settled=True)
    return start, resolved_method(method, start.defaults)


def _origin(start: registry.Resolved) -> dict[str, str | None]:
    """Return the columns that tell what a job starts from."""
    return {
        "model_id": start.model_id,
        "base_model_id": start.base_model_id,
        "pipeline": start.pipeline,
        "pipeline_digest": start.digest,
        "weights": start.weights,
    }


def _start(session: Session, job: Job) -> Job:
    session.add(job)
    session.flush()
    open_account(session, job)
    session.flush()
    tell(
        session,
        job.id,
        [NewEvent("state", "The job is created.", {"state": JobState.validating_files.value})],
    )
    start_if_valid(session, lock(session, job.id))
    session.refresh(job)
    return job


def device_for(session: Session, base_model_id: str) -> Device:
    """Return what jobs on a base model compute on when nobody says: a GPU if it is large."""
    base = session.get(Model, base_model_id)
    large = settings_of(session).gpu_from_parameters
    if base is None or base.size is None or base.size["parameters"] < large:
        return Device.cpu
    return Device.gpu


def resolved_method(method: Any, defaults: dict[str, Any] | None) -> dict[str, Any]:
    """Return a method with every hyperparameter: the user's, the model's recommended one, or the default.

    Raises:
        Invalid: naming each field that is wrong; ``param`` is the first one.
    """
    try:
        found = METHOD.validate_python(with_recommended(method, defaults or {}))
    except ValidationError as error:
        wrong = _wrong_fields(error)
        raise Invalid(
            "; ".join(message for _, message in wrong[:5]), param=wrong[0][0], code="invalid_method"
        ) from None
    for number, choice in enumerate(found.hyperparameters.metrics or ()):
        if choice.folders:
            raise Invalid(
                "a metric's network is named ORG/NAME on the hub here, not as a folder of a worker's disk",
                param=f"method.{found.type}.hyperparameters.metrics.{number}",
                code="invalid_method",
            )
    dumped: dict[str, Any] = METHOD.dump_python(found, mode="json")
    return dumped


def _wrong_fields(error: ValidationError) -> list[tuple[str, str]]:
    """Return the path of each wrong field, as the user wrote it, and what is wrong with it.

    Of a field that may be one value or a list, pydantic tells what is wrong with it as each; the one that it
    is not meant to be is left out.
    """
    found = [(_path(each), each) for each in error.errors(include_url=False, include_context=False)]
    meant = [path for path, each in found if not each["type"].endswith("_type")]
    told = [
        (path, each)
        for path, each in found
        if not each["type"].endswith("_type")
        or not any(f"{other}.".startswith(f"{path}.") for other in meant)
    ]
    return [
        (f"{path}.type" if each["type"].startswith("union_tag") else path, _said(path, each))
        for path, each in told
    ]


def _path(error: Mapping[str, Any]) -> str:
    """Return ``method.spin.hyperparameters.steps.1``; pydantic puts its own words among the keys.

    What is wrong with several together is told of the one that its message begins with.
    """
    written = [part for part in error["loc"][1:] if isinstance(part, int) or NAME.fullmatch(part)]
    known = HYPERPARAMETERS[written[0]].model_fields if written[1:] == ["hyperparameters"] else {}
    subject = str(error["msg"]).removeprefix("Value error, ").split(" ", 1)[0]
    return ".".join(["method", *map(str, written), *([subject] if subject in known else [])])


def _said(path: str, error: Mapping[str, Any]) -> str:
    given = error.get("input")
    match error["type"]:
        case "union_tag_invalid" | "union_tag_not_found":
            return f"{path}.type must be one of {', '.join(METHODS)}"
        case "extra_forbidden":
            return f"{path}: unknown field; leave it out, or check its spelling in /docs"
    text = str(error["msg"]).removeprefix("Value error, ")
    shown = f", not {given!r}" if isinstance(given, str | int | float) and len(repr(given)) <= 60 else ""
    return f"{path}: {text[:1].lower()}{text[1:]}{shown}"


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
    states: Collection[JobState] = (),
) -> Page[Job]:
    """List the project's jobs, newest first: those in ``states``, if any, that carry all of ``metadata``."""
    statement = select(Job).where(Job.project_id == project_id)
    if states:
        statement = statement.where(Job.state.in_(states))
    for key, value in (metadata or {}).items():
        if '"' in key or "\\" in key:
            raise Invalid(f"metadata[{key}]: a quote cannot be searched for", param="metadata")
        statement = statement.where(Job.metadata_[key].as_string() == value)
    return page(session, statement, by=Job.id, after=after, limit=limit)


def count_by_state(session: Session, *, project_id: str) -> dict[JobState, int]:
    """Count the project's jobs in each state; states without a job are left out."""
    counted = select(Job.state, func.count()).where(Job.project_id == project_id).group_by(Job.state)
    return {state: number for state, number in session.execute(counted)}  # noqa: C416  dict() of rows does not type
