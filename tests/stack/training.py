"""A small self-play job on the composed stack, who worked on it, and a worker that is taken away from it."""

import hashlib
import json
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from spindle.client import Spindle
from tests.deploy.composed import ROOT
from tests.stack.stack import Stack

ARCHIVE = ROOT / "examples" / "emoji" / "data" / "train.zip"
PICTURES = 12
SEED = 11
STEPS = 90
ITERATIONS = 2
CHECKPOINT_EVERY = 7  # not a divisor of the steps: a drained worker writes one in between
MID_STEP = 20
"""The step from which on the worker is taken away."""
HYPERPARAMETERS = {
    "n_iterations": ITERATIONS,
    "sft_steps": 10,
    "steps": [STEPS] * ITERATIONS,
    "learning_rate": [1e-4] * ITERATIONS,
    "batch_size": 4,
    "checkpoint_every": CHECKPOINT_EVERY,
    "rival_steps": 2,
    "eval_samples": 2,
    "eval_seeds": 1,
    "eval_steps": 2,
}
JOB_SECONDS = 900.0
STOP_SECONDS = 120
T = TypeVar("T")


class Broken(AssertionError):  # noqa: N818  says what is broken
    """The stack did not do what it promises."""


@dataclass(frozen=True)
class Held:
    """One worker's hold on a unit, as the database remembers it."""

    kind: str
    iteration: int
    fence: int
    worker: str
    outcome: str


@dataclass(frozen=True)
class Drained:
    """What became of the worker that was stopped while it trained."""

    worker: str
    step: int
    seconds: float
    """From SIGTERM to the container's end."""
    exit_code: int


def small_archive(folder: Path) -> Path:
    """Write a few of the starter's pictures with their captions to an archive."""
    path = folder / "few.zip"
    with zipfile.ZipFile(ARCHIVE) as source, zipfile.ZipFile(path, "w") as few:
        lines = source.read("metadata.jsonl").splitlines()[:PICTURES]
        few.writestr("metadata.jsonl", b"\n".join(lines) + b"\n")
        for name in (json.loads(line)["file_name"] for line in lines):
            few.writestr(name, source.read(name))
    return path


def submit(client: Spindle, dataset: str) -> str:
    """Start the job, the same each time."""
    job = client.jobs.create("starter", dataset, method="spin", hyperparameters=HYPERPARAMETERS, seed=SEED)
    return job.id


def finish(client: Spindle, job_id: str) -> str:
    """Wait for a job and return its model; Broken with what failed."""
    job = client.jobs.wait(job_id, timeout=JOB_SECONDS)
    if job.status != "succeeded" or job.fine_tuned_model is None:
        raise Broken(f"{job_id} ended {job.status}: {job.failure}")
    return job.fine_tuned_model


def weights(client: Spindle, model: str, folder: Path) -> str:
    """Return one sha256 over all weights of a published model, in the order of their names."""
    path = folder / f"{hashlib.sha256(model.encode()).hexdigest()[:12]}.zip"
    client.models.download(model, path)
    digest = hashlib.sha256()
    with zipfile.ZipFile(path) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".safetensors"))
        if not names:
            raise Broken(f"{model} has no weights: {archive.namelist()}")
        for name in names:
            digest.update(f"{name}\n".encode() + archive.read(name))
    return digest.hexdigest()


def drain(stack: Stack, client: Spindle, job_id: str) -> Drained:
    """Stop the worker that trains the job as a scale-in does (SIGTERM), while it is between two steps."""
    name, step = wait_for(lambda: training(client, job_id), "no worker trained")
    host = name.partition("@")[2]
    begun = time.monotonic()
    stack.engine.run("stop", f"--time={STOP_SECONDS}", host, timeout=STOP_SECONDS + 60)
    seconds = time.monotonic() - begun
    code = stack.state(host)["ExitCode"]
    assert isinstance(code, int)
    return Drained(name, step, seconds, code)


def training(client: Spindle, job_id: str) -> tuple[str, int] | None:
    """Return who trains a job's self-play, and its step, from MID_STEP on."""
    for worker in client.workers():
        unit = worker.unit
        if unit is not None and unit.job == job_id and unit.kind == "train" and unit.iteration > 0:
            step = int((unit.progress or {}).get("step", 0))
            return (worker.id, step) if step >= MID_STEP else None
    return None


def history(stack: Stack, job_id: str) -> list[Held]:
    """Return who held which unit of a job, in the order of the fences."""
    query = (
        "SELECT u.kind, u.iteration, a.fence, a.worker, coalesce(a.outcome, 'running') FROM attempt a "  # noqa: S608
        f"JOIN unit u ON u.id = a.unit_id WHERE u.job_id = '{job_id}' ORDER BY a.started_at, a.fence"
    )
    [postgres] = stack.containers("postgres")
    told = stack.execute(postgres, "psql", "-U", "spindle", "-d", "spindle", "-AtF", "|", "-c", query)
    rows = (line.split("|") for line in told.splitlines())
    return [
        Held(kind, int(iteration), int(fence), worker, outcome)
        for kind, iteration, fence, worker, outcome in rows
    ]


def wait_for(look: Callable[[], T | None], what: str, seconds: float = JOB_SECONDS) -> T:
    """Return what a look finds, once it finds something; Broken when it never does."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = look()
        if found is not None:
            return found
        time.sleep(0.1)
    raise Broken(f"{what} within {seconds:.0f} s")
