"""A worker that stops for longer than its lease, and wakes up while another does its work."""

import hashlib
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from core.models import JobState, UnitKind, UnitState
from tests.worker.platform import archive, engine_alone, engines, platform

pytestmark = pytest.mark.timeout(600)
SEED = 7
LEASE = 3.0
SFT: dict[str, Any] = {
    "type": "sft",
    "sft": {
        "hyperparameters": {
            "steps": 200,
            "learning_rate": 1e-3,
            "batch_size": 2,
            "rank": 2,
            "checkpoint_every": 10,
            "eval_samples": 1,
            "eval_steps": 1,
        }
    },
}


def test_a_worker_that_wakes_after_two_leases_disturbs_nothing(tmp_path: Path) -> None:
    with platform(tmp_path, lease_seconds=str(LEASE)) as made:
        made.start("beat")
        zombie = made.start("units")
        dataset_id = made.upload(archive(tmp_path, 8))
        with engine_alone(made, tmp_path, SFT, seed=SEED):
            job_id = made.submit(dataset_id, SFT, seed=SEED)

            def train() -> Any:
                return made.unit(job_id, UnitKind.train, 1)

            made.until(lambda: made.job(job_id).state is not JobState.validating_files)
            made.until(lambda: made.checkpoints(train().id))
            held = train()
            assert held.state is UnitState.running
            stopped = [zombie.pid, *engines(made.settings.state, held.id)]
            for pid in stopped:
                os.kill(pid, signal.SIGSTOP)
            stopped_at = time.monotonic()

            heir = made.start("units")
            made.until(lambda: train().fence > held.fence)
            time.sleep(max(0.0, 2 * LEASE - (time.monotonic() - stopped_at)))
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)
            made.until(lambda: not set(stopped[1:]) & set(engines(made.settings.state, held.id)), seconds=30)
            made.until(lambda: made.job(job_id).finished_at is not None)

        job = made.job(job_id)
        assert job.state is JobState.succeeded, job.failure
        assert (zombie.poll(), heir.poll()) == (None, None)
        assert train().worker != held.worker
        assert len([saved.step for saved in made.checkpoints(held.id)]) == 20
        events = made.events(job_id)
        steps = [e.data["step"] for e in events if e.type == "metrics" and e.data is not None]
        assert steps == list(range(1, 201))
        states = [e.data["state"] for e in events if e.type == "state" and e.data is not None]
        assert (states[-1], states.count("succeeded")) == ("succeeded", 1)
        alone = tmp_path / "alone" / "work" / "iteration-01" / "trained"
        expected = {
            path.relative_to(alone).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in alone.rglob("*.safetensors")
        }
        assert made.weights(train()) == expected
        assert expected
