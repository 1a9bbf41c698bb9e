"""How a claimed unit ends, whatever its process does. A script stands in for the process, nothing else."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from core import datasets, files, keys
from core.clock import utcnow
from core.db import transaction
from core.keys import DEFAULT_PROJECT
from core.models import Dataset, DatasetState, Unit, UnitKind, UnitState
from core.runs import claims, reaping
from core.runs.claims import Claim
from core.settings import Settings
from tests.core.runs import making
from tests.worker.processes import gone, within
from worker import engine, intake
from worker.attempt import Attempt
from worker.child import ROOT, Child, environment
from worker.units import run_unit, run_units
from worker.workplace import Workplace, open_workplace

SLEEPS = 'import time; print(\'{"type": "progress", "step": 1}\', flush=True); time.sleep(60)'
STOPS = f"import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(75)); {SLEEPS}"
Start = Callable[[Attempt[Claim]], Child]


@pytest.fixture
def place(settings: Settings) -> Iterator[Workplace]:
    settings = settings.model_copy(update={"lease_seconds": 2})
    opened = open_workplace(settings, "units", kinds=tuple(UnitKind))
    with transaction(opened.database) as session:
        keys.bootstrap_key(session, settings)
    yield opened
    opened.lock.close()
    opened.database.dispose()


def dataset_of(place: Workplace, data: bytes, folder: Path) -> str:
    (folder / "file").write_bytes(data)
    stored = place.store.put_file("files/one", folder / "file")
    with transaction(place.database) as session:
        file = files.create_file(
            session,
            project_id=DEFAULT_PROJECT,
            filename="../one.zip",
            purpose="fine-tune",
            stored=stored,
            key="files/one",
        )
        return datasets.create_dataset(session, project_id=DEFAULT_PROJECT, name="one", file_id=file.id).id


def claim_of(place: Workplace) -> Claim:
    with transaction(place.database) as session:
        claim = claims.claim_unit(session, worker=place.name, lease_seconds=place.settings.lease_seconds)
    assert claim is not None
    return claim


def unit_of(place: Workplace, dataset_id: str) -> Unit:
    with transaction(place.database) as session:
        return session.scalars(select(Unit).where(Unit.dataset_id == dataset_id)).one()


def runs(monkeypatch: pytest.MonkeyPatch, script: str) -> list[Child]:
    started: list[Child] = []

    def start(attempt: Attempt[Claim]) -> Child:
        started.append(Child([sys.executable, "-c", script], env=environment(), folder=attempt.scratch))
        return started[-1]

    monkeypatch.setattr(intake, "start", start)
    return started


def test_a_unit_that_was_taken_away_is_killed_and_writes_nothing(
    place: Workplace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset_id = dataset_of(place, b"", tmp_path)
    started = runs(monkeypatch, SLEEPS)
    claim = claim_of(place)

    def take_away() -> None:
        with transaction(place.database) as session:
            assert reaping.reap(session, now=utcnow() + timedelta(hours=1)) == 1

    other = threading.Timer(0.3, take_away)
    other.start()
    run_unit(place, claim)
    other.join()
    unit = unit_of(place, dataset_id)
    assert (unit.state, unit.failures, unit.fence) == (UnitState.pending, 1, 1)
    assert unit.failure is not None
    assert unit.failure["reason"] == "worker_lost"
    assert len(started) == 1
    assert within(30, lambda: gone(started[0].pid))
    assert list((place.folder / "scratch").iterdir()) == []


def test_a_worker_that_drains_gives_the_unit_back_unharmed(
    place: Workplace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset_id = dataset_of(place, b"", tmp_path)
    runs(monkeypatch, STOPS)
    claim = claim_of(place)
    other = threading.Timer(0.5, place.draining.set)
    other.start()
    run_unit(place, claim)
    other.join()
    unit = unit_of(place, dataset_id)
    assert (unit.state, unit.attempt, unit.failures) == (UnitState.pending, 0, 0)
    assert run_units(place) == 0


def test_a_crash_is_told_and_tried_again_and_then_given_up(
    place: Workplace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset_id = dataset_of(place, b"", tmp_path)
    runs(monkeypatch, "raise RuntimeError('token=abcdefgh')")
    for failures in (1, 2, 3):
        with transaction(place.database) as session:
            later = utcnow() + timedelta(hours=failures)
            claim = claims.claim_unit(session, worker=place.name, lease_seconds=1e6, now=later)
        assert claim is not None
        run_unit(place, claim)
        unit = unit_of(place, dataset_id)
        assert unit.failures == failures
        assert unit.failure is not None
        assert unit.failure["reason"] == "internal"
        assert "RuntimeError: token=***" in unit.failure["message"]
    assert unit.state is UnitState.failed
    with transaction(place.database) as session:
        assert session.get_one(Dataset, dataset_id).state is DatasetState.failed


def job_unit_of(place: Workplace, monkeypatch: pytest.MonkeyPatch, script: str) -> Claim:
    """Claim the first unit of a job, for which a script will stand."""
    making.make_job(place.database, making.ready_dataset(place.database))

    def start(attempt: Attempt[Claim]) -> Child:
        return Child([sys.executable, "-c", script], env=environment(), folder=attempt.scratch)

    monkeypatch.setattr(engine, "start", start)
    return claim_of(place)


def test_a_unit_may_be_silent_as_long_as_the_settings_say(
    place: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.settings = place.settings.model_copy(update={"unit_stall_seconds": 0.5})
    claim = job_unit_of(place, monkeypatch, SLEEPS)
    run_unit(place, claim)
    with transaction(place.database) as session:
        unit = session.get_one(Unit, claim.unit_id)
    assert unit.failure is not None
    assert unit.failure["reason"] == "timeout"
    assert unit.failure["message"] == "nothing was heard of the process for 0.5 seconds"


def test_a_stopping_unit_has_the_grace_that_the_settings_say(
    place: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.settings = place.settings.model_copy(update={"shutdown_grace_seconds": 0.5})
    deaf = f"import signal; signal.signal(15, signal.SIG_IGN); {SLEEPS.replace('60', '3600')}"
    claim = job_unit_of(place, monkeypatch, deaf)
    other = threading.Timer(0.5, place.draining.set)
    other.start()
    run_unit(place, claim)
    other.join()
    with transaction(place.database) as session:
        unit = session.get_one(Unit, claim.unit_id)
    assert (unit.state, unit.attempt, unit.failures) == (UnitState.pending, 0, 0)


def test_the_process_that_reads_archives_has_the_limits_of_the_settings(
    place: Workplace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = {"ingest_memory_bytes": 1 << 30, "ingest_cpu_seconds": 7}
    place.settings = place.settings.model_copy(update=limits)
    dataset_of(place, b"no archive", tmp_path)
    specs: list[dict[str, object]] = []
    start = intake.start

    def noted(attempt: Attempt[Claim]) -> Child:
        child = start(attempt)
        specs.append(json.loads((attempt.scratch / "spec.json").read_text()))
        return child

    monkeypatch.setattr(intake, "start", noted)
    assert run_units(place) == 1
    [spec] = specs
    assert (spec["memory_bytes"], spec["cpu_seconds"]) == (1 << 30, 7)


def test_a_broken_input_fails_the_attempt_with_its_reason(place: Workplace, tmp_path: Path) -> None:
    dataset_id = dataset_of(place, b"whole", tmp_path)
    (tmp_path / "other").write_bytes(b"other")
    place.store.put_file("files/one", tmp_path / "other")
    assert run_units(place) == 1
    unit = unit_of(place, dataset_id)
    assert unit.state is UnitState.pending
    assert unit.failure is not None
    assert unit.failure["reason"] == "internal"
    assert "sha256" in unit.failure["message"]


def test_the_process_that_reads_archives_knows_nothing_of_the_platform() -> None:
    code = (
        "import sys, worker.ingest\n"
        "print([name for name in ('torch', 'sqlalchemy', 'celery', 'minio', 'redis') if name in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert told.stdout.strip() == "[]"


def test_an_archive_that_is_none_is_refused_with_its_reason(
    place: Workplace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPINDLE_STORE_URL", "s3://key:hunter2@host/bucket")
    dataset_id = dataset_of(place, b"no archive", tmp_path)
    assert run_units(place) == 1
    with transaction(place.database) as session:
        dataset = session.get_one(Dataset, dataset_id)
    assert dataset.state is DatasetState.failed
    assert dataset.failure is not None
    assert dataset.failure["reason"] == "user_error"
    assert "hunter2" not in json.dumps(dataset.failure)
