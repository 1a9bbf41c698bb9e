"""The same workers on PostgreSQL, Redis and S3."""

from pathlib import Path

import pytest
import redis

from core.models import JobState, UnitKind
from tests.conftest import Servers
from tests.worker.platform import archive, platform

SFT = {
    "type": "sft",
    "sft": {
        "hyperparameters": {
            "steps": 4,
            "batch_size": 2,
            "rank": 2,
            "checkpoint_every": 2,
            "eval_samples": 1,
            "eval_steps": 1,
        }
    },
}
pytestmark = pytest.mark.timeout(900)  # many processes, each of which imports torch


def test_a_job_runs_in_the_cluster_though_its_messages_were_lost(tmp_path: Path, servers: Servers) -> None:
    with servers.cluster() as urls, platform(tmp_path, **urls) as made:
        job_id = made.submit(made.upload(archive(tmp_path, 4)), SFT)
        with redis.Redis.from_url(urls["broker_url"]) as client:
            assert client.llen("units-ingest") == 1
            client.flushdb()
        for role in ("beat", "units", "units"):
            made.start(role)
        made.until(lambda: made.job(job_id).finished_at is not None)
        job = made.job(job_id)
        assert job.state is JobState.succeeded, job.failure
        train = made.unit(job_id, UnitKind.train, 1)
        assert [saved.step for saved in made.checkpoints(train.id)] == [2, 4]
        assert train.output is not None
        for file in train.output["files"]:
            made.store.get_file(file["key"], tmp_path / "fetched", sha256=file["sha256"])
        assert not [path for path in made.settings.state.rglob("*") if path.suffix == ".db"]
