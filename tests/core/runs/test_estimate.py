"""What a job is thought to cost, and what it took, by numbers worked out by hand."""

from datetime import timedelta
from typing import Any

import pytest

from core.clock import utcnow
from core.db import Database, transaction
from core.models import Model, UnitKind
from core.runs import jobs, records, units, views
from core.runs.estimate import beforehand
from spin_engine.config import SftHyperparameters, SpinHyperparameters
from spin_engine.sizes import PipelineSize
from tests.core.runs.making import FILES, PROJECT, claim_next, make_job, ready_dataset, run_until, succeed

SIZE = PipelineSize(
    parameters=1000, per_rank=10, channels=4, factor=8, side=2, text=20, other_bytes=7
)  # a latent has 4 x 2 x 2 = 16 values


def test_supervised_training_of_all_weights() -> None:
    """Encoding 10 x (16 + 20) values; 3 checkpoints of 3 x 1000; weights 1000; the model 1000.

    Memory: weights, gradients, two moments: 4 x 1000 values.
    """
    chosen = SftHyperparameters(steps=5, checkpoint_every=2, adapter="full")
    assert beforehand(SIZE, chosen, rows=10, dataset_bytes=99) == {
        "disk_bytes": 99 + 4 * (360 + 9000 + 1000 + 1000) + 7,
        "memory_bytes_at_least": 4 * 4000,
    }


def test_self_play_with_an_adapter() -> None:
    """Rank 2: 20 values. Latents of side 4: 64 values. Two iterations of 1 and 2 steps of 4 captions.

    Encoding 10 x (64 + 20); rivals 4 and 8 of 64; checkpoints 1 + 2 of 3 x 20; weights 2 x 20; the model
    1000 + 20.
    Memory: 1000 weights, the adapter, its gradients and moments: 1000 + 4 x 20; online: one copy more.
    """
    chosen: dict[str, Any] = {"n_iterations": 2, "steps": [1, 2], "learning_rate": 1e-4, "beta": 1.0}
    chosen |= {"batch_size": 4, "checkpoint_every": 1, "rank": 2, "resolution": 32}
    values = 840 + 12 * 64 + 3 * 60 + 40 + 1020
    assert beforehand(SIZE, SpinHyperparameters(**chosen), rows=10, dataset_bytes=0) == {
        "disk_bytes": 4 * values + 7,
        "memory_bytes_at_least": 4 * 1080,
    }
    online = beforehand(SIZE, SpinHyperparameters(**chosen, reference="online"), rows=10, dataset_bytes=0)
    assert online["memory_bytes_at_least"] == 4 * 1100


def told(database: Database, job_id: str) -> dict[str, Any]:
    """Return a job's estimate as the API tells it."""
    with transaction(database) as session:
        job = jobs.get_job(session, project_id=PROJECT, job_id=job_id)
        return views.describe_jobs(session, [job])[job_id].estimate or {}


def test_an_estimate_is_there_from_the_start_and_is_compared_at_the_end(database: Database) -> None:
    dataset_id = ready_dataset(database, rows=10)
    with transaction(database) as session:
        session.get_one(Model, "starter").size = SIZE.as_json()
    job_id = make_job(database, dataset_id)
    first = told(database, job_id)
    assert first.keys() == {"disk_bytes", "memory_bytes_at_least"}
    assert first["disk_bytes"] > 5  # the dataset's only shard

    train = run_until(database, UnitKind.train, 1)
    with transaction(database) as session:
        progress = {"type": "progress", "what": "train", "step": 1, "of": 3, "seconds_left": 20.0}
        records.record_events(session, train, [progress])
        saved = [{"path": "weights/w", "key": "k/saved", "sha256": "9" * 64, "size": 40}]
        records.record_checkpoint(session, train, iteration=1, step=1, files=saved)
    running = told(database, job_id)
    assert running["seconds"] == pytest.approx(20 + 4 * 10, abs=10)  # 10 s a step, and no time for the rest
    with transaction(database) as session:
        later = progress | {"step": 2, "seconds_left": 500.0}
        records.record_events(session, train, [later])
    assert told(database, job_id)["seconds"] == running["seconds"]  # the first one stays
    with transaction(database) as session:
        units.succeed_unit(session, train, output={"files": FILES, "peak_memory_bytes": 12_345})
    while not told(database, job_id).get("actual"):
        succeed(database, claim_next(database))

    ended = told(database, job_id)
    assert ended.keys() == {"disk_bytes", "memory_bytes_at_least", "seconds", "actual"}
    actual = ended["actual"]
    assert actual["disk_bytes"] == 5 + 40 + 3  # the shard, the checkpoint, FILES once
    assert actual["memory_bytes"] == 12_345
    job = jobs_row(database, job_id)
    assert job.started_at is not None
    assert actual["seconds"] == pytest.approx((job.finished_at - job.started_at).total_seconds(), abs=0.2)
    assert job.finished_at <= utcnow() + timedelta(seconds=1)


def jobs_row(database: Database, job_id: str) -> Any:
    """Return the job's row."""
    with transaction(database) as session:
        return jobs.get_job(session, project_id=PROJECT, job_id=job_id)


def test_without_a_known_size_nothing_is_made_up(database: Database) -> None:
    job_id = make_job(database, ready_dataset(database))
    assert told(database, job_id) == {}
