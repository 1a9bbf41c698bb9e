"""A laptop's platform is backed up in the midst of a training, lost, and restored as a cluster.

There the training goes on from its checkpoint; its worker is drained and another one goes on; and the
weights are those of the engine that nobody disturbed.
"""

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import select

from core import keys
from core.backup.creating import create
from core.backup.place import ids, place_of
from core.db import Database, transaction
from core.models import Attempt, DatasetState, JobState, Model, Unit, UnitKind, UnitState
from core.settings import Settings
from core.sources import resolve
from core.storage.store import store_for
from tests.conftest import Servers
from tests.worker.platform import (
    ROOT,
    Platform,
    archive,
    engine_alone,
    engines,
    environment_of,
    platform,
    weights_in,
)

pytestmark = pytest.mark.timeout(1800)  # many processes, each of which imports torch
SEED = 7
SMALL = {"batch_size": 2, "rank": 2, "learning_rate": 1e-3, "eval_samples": 1, "eval_steps": 1}
FIRST = {"type": "sft", "sft": {"hyperparameters": SMALL | {"steps": 2}}}
STEPS = 200
LONG = {"type": "sft", "sft": {"hyperparameters": SMALL | {"steps": STEPS, "checkpoint_every": 20}}}
KILLED_AFTER_ONE = """
import os, signal, sys
from core.backup import copying
from core.backup.__main__ import main
keep = copying._keep
def keep_one(*told):
    keep(*told)
    os.kill(os.getpid(), signal.SIGKILL)
copying._keep = keep_one
sys.exit(main())
"""
GIVEN_BACK = "train 1: stopped, preempted."
PATIENCE = 600.0  # seconds: a busy machine takes minutes to import torch


def test_a_training_survives_the_loss_of_its_platform_and_the_drain_of_its_worker(
    tmp_path: Path, servers: Servers
) -> None:
    place = tmp_path / "backups"
    with platform(tmp_path) as laptop:
        laptop.start("units")
        dataset_id = laptop.upload(archive(tmp_path, 8))
        laptop.until(lambda: laptop.dataset(dataset_id).state is DatasetState.ready)
        finished = laptop.submit(dataset_id, FIRST)
        laptop.until(lambda: laptop.job(finished).finished_at is not None, seconds=PATIENCE)
        killed_in_the_middle(laptop, place)
        job_id = laptop.submit(dataset_id, LONG, seed=SEED)
        unit = training(laptop, job_id, more_than=0)
        made = create(laptop.settings, place_of(str(place)))
        assert made.manifest.lost == ()
        secret = (laptop.settings.state / "key").read_text().strip()
        model = model_of(laptop, finished)
        for process in laptop.processes:
            process.kill()
    expected = weights_in(engine_alone(tmp_path, LONG, seed=SEED) / "iteration-01" / "trained")
    shutil.rmtree(laptop.settings.state)
    (tmp_path / "models").rename(tmp_path / "models-elsewhere")
    with restored(tmp_path, place, servers) as cluster:
        assert model_of(cluster, finished) == model
        with transaction(cluster.database) as session:
            assert keys.verify(session, secret=secret).project_id == keys.DEFAULT_PROJECT
        waiting = cluster.unit(job_id, UnitKind.train, 1)
        assert (waiting.id, waiting.state, waiting.attempt) == (unit.id, UnitState.pending, 0)
        begun_at = steps(cluster, job_id)
        assert begun_at > 0
        cluster.start("units")
        cluster.start("units")
        training(cluster, job_id, more_than=begun_at)
        drain(cluster, job_id)
        cluster.until(lambda: cluster.job(job_id).finished_at is not None, seconds=PATIENCE)
        assert cluster.job(job_id).state is JobState.succeeded, cluster.job(job_id).failure
        check_history(cluster, job_id)
        assert cluster.weights(cluster.unit(job_id, UnitKind.train, 1)) == expected


def training(made: Platform, job_id: str, *, more_than: int) -> Unit:
    """Wait until the job is being trained and has a checkpoint of more steps."""

    def is_training() -> bool:
        assert made.job(job_id).finished_at is None, f"the job was over too soon:\n{made.logs()}"
        found = [unit for unit in units_of(made, job_id) if unit.kind is UnitKind.train]
        return bool(found) and found[0].state is UnitState.running and steps(made, job_id) > more_than

    made.until(is_training, seconds=PATIENCE)
    return made.unit(job_id, UnitKind.train, 1)


def units_of(made: Platform, job_id: str) -> list[Unit]:
    with transaction(made.database) as session:
        return list(session.scalars(select(Unit).where(Unit.job_id == job_id)))


def steps(made: Platform, job_id: str) -> int:
    saved = made.checkpoints(made.unit(job_id, UnitKind.train, 1).id)
    return saved[-1].step if saved else 0


def model_of(made: Platform, job_id: str) -> dict[str, str]:
    """Return the sha256 of each file of a job's model, as it is in the store."""
    result = made.job(job_id).result_model_id
    assert result is not None
    with transaction(made.database) as session:
        files = resolve(session, session.get_one(Model, result).source).files
    assert files
    for file in files:
        made.store.get_file(file.key, made.settings.state / "fetched", sha256=file.sha256)
    return {file.path: file.sha256 for file in files}


def killed_in_the_middle(made: Platform, place: Path) -> None:
    """Kill a backup between two objects, and see that it is none."""
    command = [sys.executable, "-c", KILLED_AFTER_ONE, "create", str(place)]
    ran = subprocess.run(command, env=made.environment, cwd=ROOT, check=False)
    assert ran.returncode == -signal.SIGKILL, "it was whole too soon"
    assert any(place.glob("objects/*/*"))
    assert ids(place_of(str(place))) == ([], [])


@contextmanager
def restored(folder: Path, place: Path, servers: Servers) -> Iterator[Platform]:
    """Restore the newest backup into a PostgreSQL, a Redis and an S3 that are empty, by the command."""
    state, models = folder / "cluster", folder / "models-elsewhere"
    with servers.cluster(template="template1", bucket="restored-cluster") as urls:
        chosen = {"state": str(state), "base_models": str(models), "retry_seconds": "1", **urls}
        settings = Settings.model_validate(chosen)
        environment = environment_of(chosen)
        command = [sys.executable, "-m", "core.backup", "restore", str(place)]
        ran = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr
        assert "differ" not in ran.stdout
        made = Platform(settings, environment, Database(settings), store_for(settings))
        try:
            yield made
        finally:
            made.stop()
            made.database.dispose()


def drain(made: Platform, job_id: str) -> None:
    """Send SIGTERM to the worker that trains: it writes a checkpoint, gives the unit back and ends."""
    worker, folder = made.worker_of(made.unit(job_id, UnitKind.train, 1))
    worker.terminate()
    assert worker.wait(180) == 0
    assert engines(folder) == []
    events = made.events(job_id)
    given_back = [event.message for event in events].index(GIVEN_BACK)
    told = {event.type: event.data for event in events[:given_back]}  # of each type the last
    metrics, checkpoint = told["metrics"], told["checkpoint"]
    assert metrics is not None
    assert checkpoint is not None
    assert checkpoint["step"] == metrics["step"], "nothing is done twice"


def check_history(made: Platform, job_id: str) -> None:
    """The unit was given back twice unharmed, and each worker of the cluster had it once."""
    unit = made.unit(job_id, UnitKind.train, 1)
    with transaction(made.database) as session:
        tried = select(Attempt).where(Attempt.unit_id == unit.id).order_by(Attempt.fence)
        attempts = list(session.scalars(tried))
    assert [each.outcome for each in attempts] == ["preempted", "preempted", "succeeded"]
    assert attempts[0].message is not None
    assert attempts[0].message.startswith("the platform was restored from backup")
    assert attempts[1].worker != attempts[2].worker
    assert (unit.attempt, unit.failures) == (1, 0)
    told = [event.message for event in made.events(job_id)]
    assert told.count(GIVEN_BACK) == 1
    assert sum(message.startswith("The platform was restored from backup") for message in told) == 1
    measured = [e.data["step"] for e in made.events(job_id) if e.type == "metrics" and e.data]
    assert measured == list(range(1, STEPS + 1))
