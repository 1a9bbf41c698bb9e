"""A training makes way for a job of higher priority, and ends with the weights of one that never did."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from core.db import transaction
from core.keys import DEFAULT_PROJECT
from core.models import Attempt, JobState, UnitKind, UnitState
from core.runs import control
from tests.worker.platform import archive, engine_alone, platform

pytestmark = pytest.mark.timeout(600)
SEED = 7
SFT: dict[str, Any] = {
    "type": "sft",
    "sft": {
        "hyperparameters": {
            "steps": 300,
            "learning_rate": 1e-3,
            "batch_size": 2,
            "rank": 2,
            "checkpoint_every": 20,
            "eval_samples": 1,
            "eval_steps": 1,
        }
    },
}


def test_a_training_makes_way_and_resumes_exactly(tmp_path: Path) -> None:
    with platform(tmp_path) as made:
        made.start("beat")
        made.start("units", "--queues", "default,big", "--device", "cpu", "--memory", "8GB")
        dataset_id = made.upload(archive(tmp_path, 8))
        low = made.submit(dataset_id, SFT, seed=SEED, priority=-1)
        made.until(lambda: made.job(low).state is not JobState.validating_files)

        def train() -> Any:
            return made.unit(low, UnitKind.train, 1)

        made.until(lambda: made.checkpoints(train().id))
        urgent = made.submit(dataset_id, SFT, seed=SEED, priority=5, queue="big")
        with engine_alone(made, tmp_path, SFT, seed=SEED):
            made.until(lambda: made.job(urgent).started_at)
            stopped = train()
            assert (stopped.state, stopped.attempt, stopped.failures) == (UnitState.pending, 0, 0)
            with transaction(made.database) as session:
                control.cancel_job(session, project_id=DEFAULT_PROJECT, job_id=urgent)
            made.until(lambda: train().finished_at is not None)

        ended = train()
        assert ended.state is UnitState.succeeded, ended.failure
        assert (ended.attempt, ended.fence) == (1, 2)
        with transaction(made.database) as session:
            outcomes = list(
                session.execute(
                    select(Attempt.outcome, Attempt.message)
                    .where(Attempt.unit_id == ended.id)
                    .order_by(Attempt.fence)
                ).all()
            )
        assert outcomes == [("preempted", f"by {urgent}"), ("succeeded", None)]
        events = made.events(low)
        [told] = [event for event in events if event.data and "preempted_by" in event.data]
        assert told.message == f"train 1: stopped, preempted by {urgent}, whose priority is higher."
        steps = [e.data["step"] for e in events if e.type == "metrics" and e.data is not None]
        assert steps == list(range(1, 301))
        alone = tmp_path / "alone" / "work" / "iteration-01" / "trained"
        expected = {
            path.relative_to(alone).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in alone.rglob("*.safetensors")
        }
        assert expected
        assert made.weights(ended) == expected
