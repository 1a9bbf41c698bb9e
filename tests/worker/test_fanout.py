"""Encoding on two workers at once: the dead one's shard goes to the other, and all see one encoding."""

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from core.db import transaction
from core.models import Attempt, DatasetState, JobState, Unit, UnitKind, UnitState
from tests.worker.platform import Platform, archive, engine_alone, platform, weights_in

pytestmark = pytest.mark.timeout(1800)
ROWS = 1030  # three shards of at most 512 rows
SEED = 7
SFT: dict[str, Any] = {
    "type": "sft",
    "sft": {
        "hyperparameters": {
            "steps": 2,
            "learning_rate": 1e-3,
            "batch_size": 2,
            "rank": 2,
            "eval_samples": 1,
            "eval_steps": 1,
        }
    },
}


def encodes(made: Platform, job_id: str) -> list[Unit]:
    with transaction(made.database) as session:
        found = select(Unit).where(Unit.job_id == job_id, Unit.kind == UnitKind.encode).order_by(Unit.shard)
        return list(session.scalars(found))


def begun(made: Platform, job_id: str) -> Unit | None:
    """Return the shard that was begun last, if two workers are at one each: its worker is not done soon."""
    running = [unit for unit in encodes(made, job_id) if unit.state is UnitState.running]
    both = len({unit.worker for unit in running}) == 2
    return max(running, key=lambda unit: str(unit.started_at)) if both else None


def test_a_dead_workers_shard_goes_to_the_other(tmp_path: Path) -> None:
    with platform(tmp_path, lease_seconds="15") as made:
        made.start("beat")
        for _ in range(2):
            made.start("units")
        dataset_id = made.upload(archive(tmp_path, ROWS))
        made.until(lambda: made.dataset(dataset_id).state is DatasetState.ready)
        job_id = made.submit(dataset_id, SFT, seed=SEED)

        lost = made.until(lambda: begun(made, job_id))
        victim, _ = made.worker_of(lost)
        victim.kill()
        victim.wait()
        [left] = [unit for unit in encodes(made, job_id) if unit.id == lost.id]
        assert left.state is UnitState.running, "its worker was done before it was killed"
        made.until(lambda: made.job(job_id).finished_at is not None)
        job = made.job(job_id)
        assert job.state is JobState.succeeded, job.failure
        shards = encodes(made, job_id)
        assert [(unit.shard, unit.shards, unit.state) for unit in shards] == [
            (shard, 3, UnitState.succeeded) for shard in range(3)
        ]
        [heir] = {
            unit.worker for unit in shards if unit.started_at is not None and unit.worker is not None
        } - {lost.worker}
        with transaction(made.database) as session:
            tried = select(Attempt).where(Attempt.unit_id == lost.id).order_by(Attempt.fence)
            attempts = [(each.worker, each.outcome) for each in session.scalars(tried)]
        assert attempts == [(lost.worker, "worker_lost"), (heir, "succeeded")]
        train = made.unit(job_id, UnitKind.train, 1)
        assert train.started_at is not None
        assert train.started_at >= max(unit.finished_at for unit in shards if unit.finished_at is not None)
        alone = engine_alone(tmp_path, SFT, seed=SEED)
        index = json.loads((alone / "encoded" / "index.json").read_text())
        sums = {
            file["path"]: file["sha256"]
            for unit in shards
            for file in (unit.output or {"files": []})["files"]
        }
        assert [sums[f"shard-{shard:05d}.safetensors"] for shard in range(3)] == index["sha256"]
        assert made.weights(train) == weights_in(alone / "iteration-01" / "trained")
