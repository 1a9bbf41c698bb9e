"""A platform of real worker processes over a state folder, driven through core as the API would."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from sqlalchemy import select

from core import datasets, files, migrate
from core.db import Database, transaction
from core.keys import DEFAULT_PROJECT
from core.models import Checkpoint, Dataset, Drawing, Event, Job, Unit, UnitKind
from core.runs import jobs
from core.settings import Settings
from core.storage.store import ObjectStore, store_for
from spin_engine.job import read_job, run_job
from spin_engine.reporter import Line
from spin_engine.stopping import Stop
from tests.tiny import build_dataset, build_pipeline

ROOT = Path(__file__).resolve().parents[2]
# Children import torch again and again: compiled modules are kept between tests and between runs.
BYTECODE = Path(tempfile.gettempdir()) / f"spindle-tests-bytecode-{os.getuid()}"
ValueT = TypeVar("ValueT")


@dataclass
class Platform:
    """Settings, their database and store, and the worker processes that were started."""

    settings: Settings
    environment: dict[str, str]
    database: Database
    store: ObjectStore
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, role: str, *arguments: str, inside: Sequence[str] = ()) -> subprocess.Popen[bytes]:
        """Start a worker; its log is in the state folder. ``inside``: a command that it is given to."""
        with (self.settings.state / f"{role}.log").open("ab") as log:
            process = subprocess.Popen(
                [*inside, sys.executable, "-m", "worker", role, *arguments],
                env=self.environment,
                cwd=ROOT,
                stderr=log,
            )
        self.processes.append(process)
        return process

    def upload(self, path: Path) -> str:
        """Upload an archive and return the id of a dataset made from it."""
        key = files.object_key(project_id=DEFAULT_PROJECT, file_id=path.stem)
        stored = self.store.put_file(key, path)
        with transaction(self.database) as session:
            file = files.create_file(
                session,
                project_id=DEFAULT_PROJECT,
                filename=path.name,
                purpose="fine-tune",
                stored=stored,
                key=key,
            )
            return datasets.create_dataset(
                session, project_id=DEFAULT_PROJECT, name=path.stem, file_id=file.id
            ).id

    def submit(self, dataset_id: str, method: dict[str, Any], *, seed: int = 7, **more: Any) -> str:
        """Create a job on the tiny pipeline and return its id."""
        with transaction(self.database) as session:
            return jobs.create_job(
                session,
                project_id=DEFAULT_PROJECT,
                model="tiny",
                training_file=dataset_id,
                method=method,
                seed=seed,
                **more,
            ).id

    def job(self, job_id: str) -> Job:
        """Return the job as it stands."""
        with transaction(self.database) as session:
            return session.get_one(Job, job_id)

    def dataset(self, dataset_id: str) -> Dataset:
        """Return the dataset as it stands."""
        with transaction(self.database) as session:
            return session.get_one(Dataset, dataset_id)

    def drawing(self, drawing_id: str) -> Drawing:
        """Return the drawing as it stands."""
        with transaction(self.database) as session:
            return session.get_one(Drawing, drawing_id)

    def unit(self, job_id: str, kind: UnitKind, iteration: int) -> Unit:
        """Return a unit as it stands."""
        with transaction(self.database) as session:
            found = select(Unit).where(
                Unit.job_id == job_id, Unit.kind == kind, Unit.iteration == iteration, Unit.shard == 0
            )
            return session.scalars(found).one()

    def checkpoints(self, unit_id: str) -> list[Checkpoint]:
        """Return the checkpoints of a unit, by their steps."""
        with transaction(self.database) as session:
            found = select(Checkpoint).where(Checkpoint.unit_id == unit_id).order_by(Checkpoint.step)
            return list(session.scalars(found))

    def events(self, job_id: str) -> list[Event]:
        """Return a job's history."""
        with transaction(self.database) as session:
            return list(session.scalars(select(Event).where(Event.job_id == job_id).order_by(Event.seq)))

    def weights(self, unit: Unit) -> dict[str, str]:
        """Return the sha256 of each file of weights that a training unit made."""
        assert unit.output is not None
        return {
            file["path"]: file["sha256"]
            for file in unit.output["files"]
            if file["path"].endswith(".safetensors")
        }

    def until(self, found: Callable[[], ValueT | bool | None], *, seconds: float = 600.0) -> ValueT:
        """Wait until something is found, and return it."""
        deadline = time.monotonic() + seconds
        while True:
            value = found()
            if value:
                return value  # type: ignore[return-value]  # True stands for itself
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {seconds} s; the workers said:\n{self.logs()}")
            time.sleep(0.1)

    def logs(self) -> str:
        """Return the end of what the workers said."""
        return "\n".join(log.read_text()[-6000:] for log in sorted(self.settings.state.glob("*.log")))

    def worker_of(self, unit: Unit) -> tuple[subprocess.Popen[bytes], Path]:
        """Return the process that runs a unit, and its folder."""
        assert unit.worker is not None
        folder = self.settings.state / "work" / unit.worker.partition("@")[0]
        [lock] = folder.glob("lock-*")
        [process] = [each for each in self.processes if each.pid == int(lock.read_text())]
        return process, folder

    def stop(self) -> None:
        """End every worker."""
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            try:
                process.wait(90)  # some write a checkpoint, and tell the last of their spans
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def engines(below: Path, unit_id: str = "", *, leashes: bool = True) -> list[int]:
    """Return the process ids of units, or of one, whose specs lie below a folder.

    A forked unit's command line is a title: one string, with blanks where another's has zeros.
    """
    found = []
    for folder in Path("/proc").iterdir():
        try:
            words = (
                (folder / "cmdline").read_bytes().replace(b" ", b"\0").split(b"\0")
                if folder.name.isdigit()
                else []
            )
        except (FileNotFoundError, ProcessLookupError):
            continue
        specs = [word for word in words if word.endswith(b"spec.json") and unit_id.encode() in word]
        ours = any(word.startswith(f"{below}/".encode()) for word in specs)
        if ours and (leashes or not any(word.endswith(b"leash.py") for word in words)):
            found.append(int(folder.name))
    return found


@contextmanager
def platform(folder: Path, **urls: str) -> Iterator[Platform]:
    """Make a platform whose one base model is the tiny pipeline; its workers end with it."""
    state, models = folder / "state", folder / "models"
    state.mkdir()
    build_pipeline(models / "tiny")
    chosen = {
        "state": str(state),
        "base_models": str(models),
        "retry_seconds": "1",
        "shard_rows": "64",
        **urls,
    }
    settings = Settings.model_validate(chosen)
    migrate.migrate(settings)
    made = Platform(settings, environment_of(chosen), Database(settings), store_for(settings))
    try:
        yield made
    finally:
        made.stop()
        made.database.dispose()


def environment_of(chosen: dict[str, str]) -> dict[str, str]:
    """Return the environment of processes with these settings."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment |= {f"SPINDLE_{name.upper()}": value for name, value in chosen.items()}
    return environment | {"PYTHONPYCACHEPREFIX": str(BYTECODE), "OMP_NUM_THREADS": "1"}


def archive(folder: Path, rows: int) -> Path:
    """Write a zip of captioned pictures and return its path."""
    build_dataset(folder / "pictures", rows)
    return Path(shutil.make_archive(str(folder / "pictures"), "zip", folder / "pictures"))


def engine_alone(folder: Path, method: dict[str, Any], *, seed: int, name: str = "alone") -> Path:
    """Run the same job by the engine alone, in this process; return the folder of its units.

    Args:
        folder: where the platform's ``models`` and the ``pictures`` are, and where it goes.
        method: what to train.
        seed: of the job.
        name: of the folder it goes to.
    """
    torch.set_num_threads(1)  # as the workers' units have: bits depend on it
    config = folder / f"{name}.yaml"
    job = {"training_data": str(folder / "pictures"), "method": method, "seed": seed}
    config.write_text(json.dumps({"model": str(folder / "models" / "tiny"), **job}))
    run_job(read_job(config), folder / name, Unheard(), Stop())
    return folder / name / "work"


class Unheard:
    """A reporter that nobody hears."""

    def send(self, line: Line) -> None:
        """Drop the line."""


def weights_in(trained: Path) -> dict[str, str]:
    """Return the sha256 of each file of weights in the folder of a training, by its path there."""
    found = {
        path.relative_to(trained).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in trained.rglob("*.safetensors")
    }
    assert found, f"{trained} has no weights"
    return found
