"""``--once`` as an autoscaler starts it: one unit, then the end."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from core import keys
from core.db import transaction
from core.models import DatasetState, Unit, UnitKind, UnitState, WorkerNode
from core.queue import UNITS, messages
from core.settings import Settings
from tests.worker.platform import Platform, archive, platform
from tests.worker.test_units import STOPS, dataset_of, runs, unit_of
from worker.once import work_once
from worker.workplace import Workplace, open_workplace

SOON = 240.0  # seconds: a busy machine takes a while to import what a worker does


@pytest.fixture
def handlers() -> Iterator[None]:
    """Put the signals back to what they did before."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def place(tmp_path: Path, sqlite_template: Path) -> Iterator[Workplace]:
    (tmp_path / "spindle.db").write_bytes(sqlite_template.read_bytes())
    settings = Settings(state=tmp_path)
    opened = open_workplace(settings, "units", kinds=(UnitKind.ingest,))
    with transaction(opened.database) as session:
        keys.bootstrap_key(session, settings)
    yield opened
    opened.lock.close()
    opened.database.dispose()


def states(made: Platform) -> list[str]:
    with transaction(made.database) as session:
        return sorted(session.scalars(select(Unit.state)))


def test_one_unit_is_run_and_no_more_and_no_message_is_left_for_it(tmp_path: Path) -> None:
    with platform(tmp_path) as made:
        pictures = archive(tmp_path, 2)
        datasets = [made.upload(pictures), made.upload(pictures.rename(tmp_path / "more.zip"))]
        assert messages(made.settings)[UNITS[UnitKind.ingest]] == 2
        assert made.start("units", "--once", "--kinds", "ingest").wait(SOON) == 0, made.logs()
        assert states(made) == [UnitState.pending, UnitState.succeeded]
        ready = [made.dataset(each).state is DatasetState.ready for each in datasets]
        assert sorted(ready) == [False, True]
        assert messages(made.settings)[UNITS[UnitKind.ingest]] == 1
        with transaction(made.database) as session:
            assert session.scalars(select(WorkerNode)).all() == []


@pytest.mark.usefixtures("handlers")
def test_without_a_unit_it_ends_well(place: Workplace) -> None:
    assert work_once(place, patience_seconds=0) == 0


@pytest.mark.usefixtures("handlers")
def test_a_wait_ends_with_sigterm(place: Workplace) -> None:
    before = signal.getsignal(signal.SIGTERM)

    def stop() -> None:
        while signal.getsignal(signal.SIGTERM) is before:  # it would end the tests
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop, daemon=True).start()
    assert work_once(place, patience_seconds=3600) == 0
    assert place.draining.is_set()


@pytest.mark.usefixtures("handlers")
def test_sigterm_gives_the_unit_back_unharmed(
    place: Workplace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset_id = dataset_of(place, b"", tmp_path)
    started = runs(monkeypatch, STOPS)

    def stop() -> None:
        while not started:
            time.sleep(0.05)
        time.sleep(0.5)  # until the process listens to signals
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop, daemon=True).start()
    assert work_once(place) == 0
    unit = unit_of(place, dataset_id)
    assert (unit.state, unit.attempt, unit.failures, unit.fence) == (UnitState.pending, 0, 0, 1)
