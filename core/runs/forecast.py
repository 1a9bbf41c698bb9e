"""What a job would come to, before there is one: time, memory, disk, its place in the queue."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from core import workers
from core.clock import utcnow
from core.errors import NotFound
from core.ids import new_id
from core.methods import hyperparameters_of
from core.models import Dataset, DatasetState, Device, File, Job, Model, UnitKind
from core.runs import estimate
from core.runs.accounts import expected_seconds, gpu_seconds_wanted, refusal_of
from core.runs.capabilities import Need, device_of, memory_of
from core.runs.jobs import device_for, starting_point
from core.runs.lifecycle import memory_held
from core.runs.waiting import Queued, lacking, waits
from spin_engine.sizes import PipelineSize

STAGES = (UnitKind.encode, UnitKind.generate, UnitKind.train, UnitKind.evaluate, UnitKind.publish)


@dataclass(frozen=True)
class Forecast:
    """What a job would come to. What is not known is None.

    Attributes:
        model: what its name stands for.
        method: with every hyperparameter resolved.
        device: what it would compute on.
        steps: optimiser steps in all.
        rows: of its dataset.
        seconds: of work for one worker, by what the project's last jobs on this base model took.
        disk_bytes: in the store, see core.runs.estimate.
        memory_bytes_at_least: of a training process, activations left out.
        queue_position: 1: it would be started next on its queue.
        estimated_start: in Unix seconds.
        waits_for: the worker that is missing.
        refused: why the project's limits do not allow it now.
    """

    model: str
    method: dict[str, Any]
    device: Device
    steps: int
    rows: int | None
    seconds: float | None
    disk_bytes: int | None
    memory_bytes_at_least: int | None
    queue_position: int
    estimated_start: int | None
    waits_for: str | None
    refused: str | None


def forecast(
    session: Session,
    *,
    project_id: str,
    model: str,
    training_file: str,
    method: Any,
    validation_file: str | None,
    priority: int,
    queue: str,
    device: Device | None,
    now: datetime | None = None,
) -> Forecast:
    """Return what a job would come to; its arguments are those of ``core.runs.jobs.create_job``.

    Raises:
        Invalid: the method is not right; ``param`` is the path of the first wrong field.
        NotFound: there is no such model, dataset or file in this project.
    """
    now = now or utcnow()
    start, resolved = starting_point(session, project_id=project_id, model=model, method=method)
    dataset = _dataset(session, project_id, training_file, "training_file")
    if validation_file is not None:
        _dataset(session, project_id, validation_file, "validation_file")
    job = Job(  # never added to the session
        id=new_id("ftjob-"),
        project_id=project_id,
        base_model_id=start.base_model_id,
        method=resolved,
        priority=priority,
        queue=queue,
        device=device or device_for(session, start.base_model_id),
    )
    seconds = expected_seconds(session, job)
    place = waits(session, now=now, one_more=Queued(job.id, project_id, priority, queue, seconds))[job.id]
    known = _sizes(session, job, dataset)
    return Forecast(
        model=start.model_id,
        method=resolved,
        device=job.device,
        steps=_steps(job),
        rows=None if dataset is None else dataset.rows,
        seconds=None if seconds is None else round(seconds, 1),
        disk_bytes=known.get("disk_bytes"),
        memory_bytes_at_least=known.get("memory_bytes_at_least"),
        queue_position=place.position,
        estimated_start=None
        if place.seconds is None
        else int((now + timedelta(seconds=place.seconds)).timestamp()),
        waits_for=lacking(_needs(session, job), workers.living(session)),
        refused=refusal_of(session, project_id, wanted=gpu_seconds_wanted(job, seconds)),
    )


def _dataset(session: Session, project_id: str, given: str, param: str) -> Dataset | None:
    """Return the dataset that is meant by its id or by a file's; None for a file that has none yet."""
    dataset = session.get(Dataset, given, populate_existing=True)
    if dataset is not None and dataset.project_id == project_id:
        return dataset
    file = session.get(File, given)
    if file is None or file.project_id != project_id or file.deleted_at is not None:
        raise NotFound(
            f"{param}: there is no dataset and no file {given}", param=param, code="dataset_not_found"
        )
    return session.scalar(
        select(Dataset)
        .where(Dataset.file_id == file.id, Dataset.state != DatasetState.failed, Dataset.part.is_(None))
        .order_by(Dataset.id.desc())
        .limit(1)
    )


def _sizes(session: Session, job: Job, dataset: Dataset | None) -> dict[str, int]:
    base = session.get(Model, job.base_model_id)
    if base is None or base.size is None or dataset is None or dataset.rows is None:
        return {}
    return estimate.beforehand(
        PipelineSize.of_json(base.size),
        hyperparameters_of(job.method),
        rows=dataset.rows,
        dataset_bytes=sum(file["size"] for file in dataset.shards or ()),
    )


def _steps(job: Job) -> int:
    asked = hyperparameters_of(job.method)
    return sum(asked.for_iteration(iteration).steps for iteration in asked.iterations)


def _needs(session: Session, job: Job) -> list[Need]:
    memory = memory_held(session, job, hyperparameters_of(job.method))
    return [
        Need(kind, job.queue, device_of(kind, asked=job.device), memory_of(kind, **memory)) for kind in STAGES
    ]
