"""What repairs lost messages: the beat's duties, and the ear of each worker."""

import io
import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import select

from core import files, keys
from core.clock import utcnow
from core.db import transaction
from core.models import (
    Dataset,
    DatasetState,
    Drawing,
    DrawingState,
    Idempotency,
    Project,
    Unit,
    UnitKind,
    UnitState,
    Upload,
    UploadState,
    WorkerNode,
)
from core.settings import Settings
from core.uploads import uploads
from tests.worker.processes import within
from worker.maintenance import DEAF_SECONDS, RING_AGAIN_SECONDS, Ear, beat, chores
from worker.rounds import perform
from worker.workplace import Workplace, open_workplace


@pytest.fixture
def place(settings: Settings) -> Iterator[Workplace]:
    opened = open_workplace(settings, "units")
    yield opened
    opened.lock.close()
    opened.database.dispose()


class Told:
    """What an ear did, at times that the test chooses."""

    def __init__(self, place: Workplace, *, pending: bool) -> None:
        self.now = 100.0
        self.rings: list[str] = []
        self.deaf = 0
        self.pending = pending
        self.ear = Ear(
            place,
            pending=lambda _: "task" if self.pending else None,
            ring=self._ring,
            deaf=self._deaf,
            clock=lambda: self.now,
        )

    def _ring(self, task: str) -> None:
        self.rings.append(task)

    def _deaf(self) -> None:
        self.deaf += 1


def test_an_idle_worker_rings_for_forgotten_work_and_not_too_often(place: Workplace) -> None:
    told = Told(place, pending=True)
    told.ear.look()
    told.ear.look()
    assert told.rings == ["task"]
    told.now += RING_AGAIN_SECONDS
    told.ear.look()
    assert told.rings == ["task"] * 2


def test_nothing_rings_without_work_or_while_some_is_done(place: Workplace) -> None:
    told = Told(place, pending=False)
    told.ear.look()
    told.pending = True
    with told.ear.awake():
        told.ear.look()
    assert told.rings == []
    place.draining.set()
    told.ear.look()
    assert told.rings == []


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


def test_the_chores_keep_rows_and_objects_from_piling_up(place: Workplace) -> None:
    old = utcnow() - timedelta(days=30)
    with transaction(place.database) as session:
        keys.bootstrap_key(session, place.settings)
        stored = place.store.put("files/one", io.BytesIO(b"one"), 3)
        files.create_file(
            session,
            project_id=keys.DEFAULT_PROJECT,
            file_id="file-1",
            filename="one.zip",
            purpose="fine-tune",
            stored=stored,
            key="files/one",
        )
        files.delete_file(session, project_id=keys.DEFAULT_PROJECT, file_id="file-1")
        upload = uploads.create_upload(
            session,
            project_id=keys.DEFAULT_PROJECT,
            filename="two.zip",
            purpose="fine-tune",
            mime_type="application/zip",
            size=3,
            now=old,
        )
        for key, moment in (("old", old), ("new", utcnow())):
            row = {"project_id": keys.DEFAULT_PROJECT, "key": key, "fingerprint": "f"}
            session.add(Idempotency(**row, created_at=moment))
            session.add(WorkerNode(name=key, kind="units", seen_at=moment))
        drawing = {
            "project_id": keys.DEFAULT_PROJECT,
            "model_id": "m",
            "pipeline": "folder:/m",
            "request": {},
        }
        session.add(Drawing(id="img-1", **drawing, state=DrawingState.succeeded, finished_at=old))
    place.store.put(uploads.part_key(upload, part_id="part-1"), io.BytesIO(b"two"), 3)
    place.store.put("drawings/img-1/1/0.png", io.BytesIO(b"png"), 3)
    with transaction(place.database) as session:
        dataset = {"project_id": keys.DEFAULT_PROJECT, "name": "one", "version": 1, "file_id": "file-1"}
        session.add(Dataset(id="ds-1", **dataset, state=DatasetState.failed))
        session.flush()
        session.add(
            Unit(
                id="unit-1", dataset_id="ds-1", kind=UnitKind.ingest, state=UnitState.failed, finished_at=old
            )
        )
    place.store.put("datasets/ds-1/1/shard-00000.tar", io.BytesIO(b"tar"), 3)

    for _, _, chore in chores(place):
        chore()

    assert list(place.store.list("")) == []
    with transaction(place.database) as session:
        assert session.scalars(select(Idempotency.key)).all() == ["new"]
        assert session.scalars(select(WorkerNode.name)).all() == ["new"]
        assert session.scalars(select(Drawing.id)).all() == []
        assert session.get_one(Upload, upload.id).state is UploadState.expired
        assert session.get_one(Project, keys.DEFAULT_PROJECT).stored_bytes == 0
        assert session.get_one(Unit, "unit-1").cleared_at is not None


def test_the_beat_does_the_chores_and_its_duties(place: Workplace) -> None:
    old = utcnow() - timedelta(days=30)
    with transaction(place.database) as session:
        session.add(WorkerNode(name="old", kind="units", seen_at=old))
    before = set(threading.enumerate())
    running = threading.Thread(target=beat, args=(place,))
    running.start()

    def seen() -> list[str]:
        with transaction(place.database) as session:
            return list(session.scalars(select(WorkerNode.name)))

    done = within(60, lambda: seen() == [place.name])
    place.draining.set()
    running.join()
    for thread in set(threading.enumerate()) - before:  # the next test's store has the same bucket
        thread.join(60)
    assert done, seen()
