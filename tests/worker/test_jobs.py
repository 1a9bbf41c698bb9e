"""Jobs through real workers and the real engine: killed, paused, cancelled, refused, drawn with."""

import math
import os
import signal
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import pytest
from PIL import Image
from sqlalchemy import select

from core import drawings
from core.comparisons.records import Question
from core.db import transaction
from core.keys import DEFAULT_PROJECT
from core.models import Attempt, DatasetState, DrawingState, JobState, Metric, Unit, UnitKind, UnitState
from core.runs import control
from tests.worker.platform import Platform, archive, engine_alone, engines, platform, weights_in
from tests.worker.voting import compared, dataset_of, files_of, vote_for_the_later

pytestmark = pytest.mark.timeout(1800)  # many processes, each of which imports torch
SEED = 7
SMALL = {"batch_size": 2, "rank": 2, "checkpoint_every": 10, "eval_samples": 1, "eval_steps": 1}
SELF_PLAY = {"n_iterations": 2, "steps": 200, "learning_rate": 1e-3, "beta": 100.0, "rival_steps": 1}
SPIN = {"type": "spin", "spin": {"hyperparameters": SMALL | SELF_PLAY}}
DPO = {"type": "dpo", "dpo": {"hyperparameters": SMALL | {"steps": 2, "learning_rate": 1e-3}}}
ENDLESS = {"type": "sft", "sft": {"hyperparameters": SMALL | {"steps": 100_000, "learning_rate": 1e-3}}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("platform")


@pytest.fixture(scope="module")
def made(folder: Path) -> Iterator[Platform]:
    with platform(folder, lease_seconds="300") as made:  # no busy machine lets one run out
        made.start("beat")
        made.start("serve")
        made.start("units")
        made.start("units")
        yield made


@pytest.fixture(scope="module")
def dataset_id(made: Platform, folder: Path) -> str:
    dataset_id = made.upload(archive(folder, 8))
    made.until(lambda: made.dataset(dataset_id).state is DatasetState.ready)
    return dataset_id


@pytest.fixture(scope="module")
def job_id(made: Platform, dataset_id: str) -> str:
    """A job that went through everything that can happen to it, and succeeded."""
    return _through_everything(made, made.submit(dataset_id, SPIN, seed=SEED))


@pytest.fixture(scope="module")
def alone(folder: Path, dataset_id: str) -> Path:
    """What the engine makes of the same job."""
    assert dataset_id
    return engine_alone(folder, SPIN, seed=SEED)


def _through_everything(made: Platform, job_id: str) -> str:
    below = made.settings.state / "work"

    # The training process is killed: the unit is tried again from its last checkpoint.
    unit = _training(made, job_id, 1, more_than=0)
    [trainer] = engines(below, unit.id, leashes=False)
    os.kill(trainer, signal.SIGKILL)
    unit = made.until(lambda: _with_failure(made, job_id, 1))
    assert unit.failure is not None
    assert unit.failure["reason"] == "worker_lost"
    assert "SIGKILL" in unit.failure["message"]

    # A pause stops it at a checkpoint and costs no attempt.
    _training(made, job_id, 1, more_than=_steps(made, job_id, 1))
    with transaction(made.database) as session:
        control.pause_job(session, project_id=DEFAULT_PROJECT, job_id=job_id)
    made.until(lambda: made.job(job_id).state is JobState.paused)
    unit = made.unit(job_id, UnitKind.train, 1)
    assert (unit.state, unit.attempt) == (UnitState.pending, 1)
    assert engines(below) == []
    with transaction(made.database) as session:
        control.resume_job(session, project_id=DEFAULT_PROJECT, job_id=job_id)

    # The worker is killed: its child dies with it, and the next of its name gives the unit back at once.
    worker, folder = made.worker_of(_training(made, job_id, 2, more_than=0))
    worker.kill()
    worker.wait()
    made.until(lambda: not engines(folder), seconds=60)
    assert made.unit(job_id, UnitKind.train, 2).state is UnitState.running
    made.start("units")

    # The worker is asked to end: it writes a checkpoint, gives the unit back, and costs no attempt.
    worker, folder = made.worker_of(_training(made, job_id, 2, more_than=_steps(made, job_id, 2)))
    worker.terminate()
    assert worker.wait(180) == 0
    assert engines(folder) == []
    assert made.unit(job_id, UnitKind.train, 2).attempt in (1, 2)  # the other worker may have it already

    made.until(lambda: made.job(job_id).finished_at is not None)
    return job_id


def _training(made: Platform, job_id: str, iteration: int, *, more_than: int) -> Unit:
    """Wait until an iteration is being trained and has a checkpoint of more steps."""

    def is_training() -> bool:
        ended = made.job(job_id).finished_at is not None
        state = made.unit(job_id, UnitKind.train, iteration).state
        assert not ended, f"the job was over too soon:\n{made.logs()}"
        assert state is not UnitState.succeeded, "training was over before it was disturbed"
        return state is UnitState.running and _steps(made, job_id, iteration) > more_than

    made.until(is_training)
    return made.unit(job_id, UnitKind.train, iteration)


def _steps(made: Platform, job_id: str, iteration: int) -> int:
    saved = made.checkpoints(made.unit(job_id, UnitKind.train, iteration).id)
    return saved[-1].step if saved else 0


def _with_failure(made: Platform, job_id: str, iteration: int) -> Unit | None:
    unit = made.unit(job_id, UnitKind.train, iteration)
    return unit if unit.failure is not None else None


def _draw(made: Platform, model: str) -> bytes:
    with transaction(made.database) as session:
        drawing = drawings.request_drawing(
            session,
            project_id=DEFAULT_PROJECT,
            model=model,
            prompt="red circle",
            negative_prompt=None,
            seeds=[3],
            width=None,
            height=None,
            steps=2,
            guidance_scale=2.0,
        )
    made.until(lambda: made.drawing(drawing.id).finished_at is not None)
    drawn = made.drawing(drawing.id)
    assert drawn.state is DrawingState.succeeded, drawn.failure
    assert drawn.result is not None
    [file] = drawn.result["files"]
    with made.store.open(file["key"]) as stream:
        return stream.read()


def test_a_job_survives_everything_with_the_weights_of_the_engine_alone(
    made: Platform, alone: Path, job_id: str
) -> None:
    job = made.job(job_id)
    assert job.state is JobState.succeeded, job.failure
    assert job.result_model_id is not None
    for iteration in (1, 2):
        trained = made.weights(made.unit(job_id, UnitKind.train, iteration))
        assert trained == weights_in(alone / f"iteration-{iteration:02d}" / "trained")


def test_its_history_has_every_step_once_and_one_end(made: Platform, job_id: str) -> None:
    events = made.events(job_id)
    for iteration in (1, 2):
        steps = [
            event.data["step"]
            for event in events
            if event.type == "metrics" and event.data is not None and event.data["iteration"] == iteration
        ]
        assert steps == list(range(1, 201))
    states = [event.data["state"] for event in events if event.type == "state" and event.data is not None]
    assert states[-1] == "succeeded"
    assert states.count("succeeded") == 1
    assert [event.type for event in events].count("model") == 1


def test_a_result_and_a_checkpoint_draw(made: Platform, job_id: str) -> None:
    result = made.job(job_id).result_model_id
    assert result is not None
    first = made.checkpoints(made.unit(job_id, UnitKind.train, 1).id)[0]
    by_result, by_checkpoint, by_base = (_draw(made, model) for model in (result, first.id, "tiny"))
    assert Image.open(BytesIO(by_result)).size == (32, 32)
    assert len({by_result, by_checkpoint, by_base}) == 3
    assert _draw(made, result) == by_result


def test_votes_on_its_iterations_train_another_job(made: Platform, job_id: str) -> None:
    questions = [Question("red circle", (1, 2)), Question("blue square", (3,))]
    comparison_id = compared(made, job_id, 2, questions)
    vote_for_the_later(made, comparison_id)
    dataset_id = dataset_of(made, comparison_id)
    dataset = made.dataset(dataset_id)
    assert (dataset.state, dataset.rows) == (DatasetState.ready, 3), dataset.failure
    assert dataset.statistics is not None
    assert dataset.statistics["pairs"] == 3
    files = files_of(made, dataset_id)
    for name in ("00000000.png", "00000000.loser.png"):
        with Image.open(BytesIO(files[name])) as picture:
            assert (picture.size, picture.info) == ((32, 32), {})
    learned = made.submit(dataset_id, DPO)
    made.until(lambda: made.job(learned).finished_at is not None)
    assert made.job(learned).state is JobState.succeeded, made.job(learned).failure
    with transaction(made.database) as session:
        told = select(Metric.value).where(Metric.job_id == learned, Metric.name == "loss")
        first, second = session.scalars(told.order_by(Metric.step))
    assert first == pytest.approx(math.log(2), abs=1e-6)  # as long as theta is the reference
    assert second != pytest.approx(math.log(2), abs=1e-4)


def test_a_training_makes_way_for_higher_priority_and_resumes_exactly(
    made: Platform, alone: Path, dataset_id: str, job_id: str
) -> None:
    assert made.job(job_id).finished_at is not None, "one worker is left, and it is idle"
    low = made.submit(dataset_id, SPIN, seed=SEED, priority=-1)
    unit = _training(made, low, 1, more_than=0)
    urgent = made.submit(dataset_id, ENDLESS, priority=5)
    made.until(lambda: made.job(urgent).started_at)
    stopped = made.unit(low, UnitKind.train, 1)
    assert (stopped.state, stopped.attempt, stopped.failures) == (UnitState.pending, 0, 0)
    with transaction(made.database) as session:
        control.cancel_job(session, project_id=DEFAULT_PROJECT, job_id=urgent)
    made.until(lambda: made.unit(low, UnitKind.train, 1).finished_at is not None)
    with transaction(made.database) as session:
        control.cancel_job(session, project_id=DEFAULT_PROJECT, job_id=low)
        tried = select(Attempt).where(Attempt.unit_id == unit.id).order_by(Attempt.fence)
        attempts = [(each.outcome, each.message) for each in session.scalars(tried)]
    assert attempts == [("preempted", f"by {urgent}"), ("succeeded", None)]
    ended = made.unit(low, UnitKind.train, 1)
    assert (ended.attempt, ended.fence) == (1, 2)
    assert made.weights(ended) == weights_in(alone / "iteration-01" / "trained")
    events = made.events(low)
    [told] = [event for event in events if event.data and "preempted_by" in event.data]
    assert told.message == f"train 1: stopped, preempted by {urgent}, whose priority is higher."
    steps = [e.data["step"] for e in events if e.type == "metrics" and e.data and e.data["iteration"] == 1]
    assert steps == list(range(1, 201))
    made.until(lambda: made.job(low).state is JobState.cancelled)


def test_cancel_kills_the_training_process(made: Platform, dataset_id: str, job_id: str) -> None:
    assert made.job(job_id).finished_at is not None
    endless = made.submit(dataset_id, ENDLESS)
    _training(made, endless, 1, more_than=0)
    with transaction(made.database) as session:
        control.cancel_job(session, project_id=DEFAULT_PROJECT, job_id=endless)
    made.until(lambda: made.job(endless).state is JobState.cancelled, seconds=120)
    made.until(lambda: not engines(made.settings.state), seconds=60)
    assert made.unit(endless, UnitKind.train, 1).state is UnitState.cancelled


def test_a_bad_dataset_fails_with_its_reasons(made: Platform, tmp_path: Path) -> None:
    path = tmp_path / "bad.zip"
    with ZipFile(path, "w") as zipped:
        zipped.writestr("one.png", b"no picture")
        zipped.writestr("one.txt", "a caption")
    dataset_id = made.upload(path)
    waiting = made.submit(dataset_id, SPIN)
    made.until(lambda: made.dataset(dataset_id).state is not DatasetState.validating)
    dataset = made.dataset(dataset_id)
    assert dataset.state is DatasetState.failed
    assert dataset.failure is not None
    assert dataset.failure["reason"] == "user_error"
    assert "one.png" in dataset.failure["message"]
    [rejected] = dataset.rejected or []
    assert rejected["file"] == "one.png"
    assert made.job(waiting).state is JobState.failed


def test_workers_never_load_torch(made: Platform, job_id: str) -> None:
    assert made.job(job_id).finished_at is not None
    for process in made.processes:
        if process.poll() is None:
            loaded = Path(f"/proc/{process.pid}/maps").read_text()
            assert "libtorch" not in loaded
            assert "libpython" in loaded or "python" in loaded
