"""Real workers on the tiny pipeline: how long one, and two, take for the same encode and generate units."""

import statistics
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select

from core.db import transaction
from core.models import DatasetState, Unit, UnitKind, UnitState
from tests.worker.platform import Platform, archive, platform

SHARDS = 8
KINDS = f"{UnitKind.ingest},{UnitKind.encode},{UnitKind.generate}"


@dataclass(frozen=True)
class Crew:
    """How long workers took.

    Attributes:
        workers: processes, of one thread each.
        seconds: from the first generate unit's start to the last one's end.
        unit_seconds: a unit's median.
    """

    workers: int
    seconds: float
    unit_seconds: float


def measure(folder: Path, *, workers: int, rows: int, rival_steps: int) -> Crew:
    """Let so many workers do the generate units of a job, after another job for which they got warm."""
    folder.mkdir()
    with platform(folder, shard_rows=str(-(-rows // SHARDS))) as made:
        dataset_id = made.upload(archive(folder, rows))
        for _ in range(workers):
            made.start("units", "--kinds", KINDS)
        made.until(lambda: made.dataset(dataset_id).state is DatasetState.ready)
        for seed in (1, 2):
            job_id = made.submit(dataset_id, _method(rows, rival_steps), seed=seed)
            done = made.until(lambda job_id=job_id: _generated(made, job_id), seconds=600)  # type: ignore[misc]
    return Crew(
        workers,
        (max(end for _, end in done) - min(start for start, _ in done)).total_seconds(),
        statistics.median((end - start).total_seconds() for start, end in done),
    )


def _method(rows: int, rival_steps: int) -> dict[str, Any]:
    asked = {"n_iterations": 1, "sft_steps": 0, "steps": rows // 2, "batch_size": 2, "rank": 2}
    asked["rival_steps"] = rival_steps
    return {"type": "spin", "spin": {"hyperparameters": asked}}


def _generated(made: Platform, job_id: str) -> list[tuple[datetime, datetime]] | None:
    """Return when the generate units of a job ran, once all are done."""
    with transaction(made.database) as session:
        found = session.scalars(
            select(Unit).where(Unit.job_id == job_id, Unit.kind == UnitKind.generate)
        ).all()
        spans = [
            (unit.started_at, unit.finished_at)
            for unit in found
            if unit.state is UnitState.succeeded and unit.started_at and unit.finished_at
        ]
    return spans if found and len(spans) == len(found) else None
