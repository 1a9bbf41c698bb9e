"""Two workers in two network namespaces train one unit over gloo: killed, stopped, and equal to the bit."""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from sqlalchemy import select

from core.db import transaction
from core.models import Attempt, DatasetState, JobState, Unit, UnitKind, UnitState
from tests.programs import program
from tests.worker.platform import Platform, archive, engines, platform

pytestmark = pytest.mark.timeout(1800)  # many processes, each of which imports torch
SMALL = {"batch_size": 4, "rank": 2, "checkpoint_every": 10, "eval_samples": 1, "eval_steps": 1}
SFT = {"type": "sft", "sft": {"hyperparameters": SMALL | {"steps": 100, "learning_rate": 1e-3}}}
SETTINGS = {"lease_seconds": "20", "gang_seconds": "300"}
REST = ("--except", "train", "--queues", "default,pair")
PAIR = ("--kinds", "train", "--queues", "pair", "--nodes", "2")


@dataclass(frozen=True)
class Net:
    """A network namespace, and the address that it has in it."""

    name: str
    address: str

    @property
    def inside(self) -> tuple[str, ...]:
        """What a command begins with that runs in it."""
        return ("ip", "netns", "exec", self.name)


@pytest.fixture(scope="module")
def nets() -> Iterator[tuple[Net, Net]]:
    """Two namespaces with a cable between them, and nothing else."""
    path = program("ip", package="iproute2")
    ends = [Net(f"gang{os.getpid()}-{number}", f"10.77.0.{number}") for number in (1, 2)]
    cable = [f"g{os.getpid()}-{number}" for number in (1, 2)]

    def ip(*words: str) -> None:
        ran = subprocess.run([path, *words], capture_output=True, text=True, check=False)
        assert ran.returncode == 0, f"ip {' '.join(words)}: {ran.stderr}"

    try:
        for end in ends:
            ip("netns", "add", end.name)
        ip("link", "add", cable[0], "type", "veth", "peer", "name", cable[1])
        for end, wire in zip(ends, cable, strict=True):
            ip("link", "set", wire, "netns", end.name)
            for words in (
                ("addr", "add", f"{end.address}/24", "dev", wire),
                ("link", "set", wire, "up"),
                ("link", "set", "lo", "up"),
            ):
                ip("-n", end.name, *words)
        yield ends[0], ends[1]
    finally:
        for end in ends:
            subprocess.run([path, "netns", "del", end.name], capture_output=True, check=False)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with platform(tmp_path_factory.mktemp("gang"), **SETTINGS) as made:
        made.start("beat")
        made.start("units", *REST)
        yield made


@pytest.fixture(scope="module")
def dataset_id(made: Platform, tmp_path_factory: pytest.TempPathFactory) -> str:
    dataset_id = made.upload(archive(tmp_path_factory.mktemp("pictures"), 8))
    made.until(lambda: made.dataset(dataset_id).state is DatasetState.ready)
    return dataset_id


@pytest.fixture(scope="module")
def alone(made: Platform, dataset_id: str) -> dict[str, str]:
    """The weights of two processes of one worker, whom nobody disturbs."""
    worker = made.start("units", "--kinds", "train", "--processes", "2")
    job_id = made.submit(dataset_id, SFT)
    unit = made.until(lambda: _training(made, job_id, more_than=0))
    # Its leash, the launcher and two processes, all of one group.
    running = engines(made.settings.state / "work", unit.id)
    assert len(running) == 4
    assert len({os.getpgid(each) for each in running}) == 1
    made.until(lambda: made.unit(job_id, UnitKind.train, 1).state is UnitState.succeeded)
    worker.terminate()
    assert worker.wait(180) == 0
    return made.weights(made.unit(job_id, UnitKind.train, 1))


def test_a_gang_that_is_killed_and_stopped_gives_the_weights_of_one_that_was_not(
    made: Platform, nets: tuple[Net, Net], dataset_id: str, alone: dict[str, str]
) -> None:
    below = made.settings.state / "work"
    job_id = made.submit(dataset_id, SFT, queue="pair")
    processes = [_start(made, net) for net in nets]

    # The whole worker of a member is killed in a step: the gang fails, and its leader's processes end.
    unit = made.until(lambda: _training(made, job_id, more_than=0))
    leader, _ = made.worker_of(unit)
    assert _told(made, job_id) == 1
    [member] = [at for at, each in enumerate(processes) if each is not leader]
    processes[member].kill()
    processes[member].wait()
    unit = made.until(lambda: _failed(made, job_id))
    assert unit.failure is not None
    assert unit.failure["reason"] == "worker_lost", unit.failure
    assert unit.failure["worker"] not in (None, unit.worker)
    assert engines(below, unit.id) == []

    # One takes its seat, and they go on from the last checkpoint. It is asked to stop: all do, unharmed.
    saved = _steps(made, job_id)
    processes[member] = _start(made, nets[member])
    made.until(lambda: _training(made, job_id, more_than=saved))
    processes[member].terminate()
    assert processes[member].wait(180) == 0
    made.until(lambda: len(_attempts(made, unit.id)) == 3)
    assert made.unit(job_id, UnitKind.train, 1).attempt == 2, "that cost no attempt"
    assert engines(below, unit.id) == [], "its leader waits for another"

    processes[member] = _start(made, nets[member])
    made.until(lambda: made.job(job_id).finished_at is not None)
    assert made.job(job_id).state is JobState.succeeded
    assert [each.outcome for each in _attempts(made, unit.id)] == ["worker_lost", "preempted", "succeeded"]
    assert _told(made, job_id) == 3
    assert made.weights(made.unit(job_id, UnitKind.train, 1)) == alone


def _start(made: Platform, net: Net) -> subprocess.Popen[bytes]:
    return made.start("units", *PAIR, "--address", net.address, inside=net.inside)


def _training(made: Platform, job_id: str, *, more_than: int) -> Unit | None:
    """Return the training if it runs and has a checkpoint of more steps."""
    assert made.job(job_id).finished_at is None, f"the job was over too soon:\n{made.logs()}"
    unit = made.unit(job_id, UnitKind.train, 1)
    assert unit.state is not UnitState.succeeded, "training was over before it was disturbed"
    return unit if unit.state is UnitState.running and _steps(made, job_id) > more_than else None


def _steps(made: Platform, job_id: str) -> int:
    saved = made.checkpoints(made.unit(job_id, UnitKind.train, 1).id)
    return saved[-1].step if saved else 0


def _failed(made: Platform, job_id: str) -> Unit | None:
    unit = made.unit(job_id, UnitKind.train, 1)
    return unit if unit.failure is not None else None


def _attempts(made: Platform, unit_id: str) -> list[Attempt]:
    with transaction(made.database) as session:
        found = select(Attempt).where(Attempt.unit_id == unit_id).order_by(Attempt.fence)
        return list(session.scalars(found))


def _told(made: Platform, job_id: str) -> int:
    """Count how often the job's history tells that two workers have met."""
    return sum("2 workers train together" in event.message for event in made.events(job_id))
