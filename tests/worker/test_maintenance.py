"""What repairs lost messages: the beat's duties, and the ear of each worker."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from core import schema
from core.settings import Settings
from worker.maintenance import DEAF_SECONDS, RING_AGAIN_SECONDS, Ear, perform
from worker.workplace import Workplace, open_workplace


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Workplace]:
    opened = open_workplace(Settings(state=tmp_path / "state"), "units")
    schema.move(opened.database)
    yield opened
    opened.lock.close()
    opened.database.dispose()


class Told:
    """What an ear did, at times that the test chooses."""

    def __init__(self, place: Workplace, *, pending: bool) -> None:
        self.now = 100.0
        self.rings = 0
        self.deaf = 0
        self.pending = pending
        self.ear = Ear(
            place, pending=lambda _: self.pending, ring=self._ring, deaf=self._deaf, clock=lambda: self.now
        )

    def _ring(self) -> None:
        self.rings += 1

    def _deaf(self) -> None:
        self.deaf += 1


def test_an_idle_worker_rings_for_forgotten_work_and_not_too_often(place: Workplace) -> None:
    told = Told(place, pending=True)
    told.ear.look()
    told.ear.look()
    assert told.rings == 1
    told.now += RING_AGAIN_SECONDS
    told.ear.look()
    assert told.rings == 2


def test_nothing_rings_without_work_or_while_some_is_done(place: Workplace) -> None:
    told = Told(place, pending=False)
    told.ear.look()
    told.pending = True
    with told.ear.awake():
        told.ear.look()
    assert told.rings == 0
    place.draining.set()
    told.ear.look()
    assert told.rings == 0


def test_a_consumer_that_never_wakes_is_deaf(place: Workplace) -> None:
    told = Told(place, pending=True)
    told.ear.look()
    told.now += DEAF_SECONDS - 1
    told.ear.look()
    assert told.deaf == 0
    with told.ear.awake():
        pass
    told.now += 2
    told.ear.look()
    assert told.deaf == 0
    told.now += DEAF_SECONDS + 1
    told.ear.look()
    assert told.deaf == 1


def test_a_duty_that_fails_is_done_again_and_stops_no_other() -> None:
    stop = threading.Event()
    done: list[str] = []

    def fails() -> None:
        done.append("fails")
        raise OSError("the queue is away")

    def ends() -> None:
        done.append("ends")
        if done.count("ends") == 2:
            stop.set()

    perform([(0.0, "fails", fails), (0.0, "ends", ends)], stop)
    assert done == ["fails", "ends", "fails", "ends"]
