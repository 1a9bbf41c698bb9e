"""Doorbells over both brokers: they ring after the commit, and what is lost is rung by the relay."""

import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from core import outbox
from core.clock import utcnow
from core.db import Database, transaction
from core.errors import Unavailable
from core.models import Job, Outbox, UnitKind
from core.queue import DRAW, RUN_UNIT, UNITS, Bell, celery_app, check_broker, queue_folder
from core.settings import Settings
from tests.core.runs.making import make_job, ready_dataset
from tests.services import free_ports, redis_server

SENDERS, EACH = 3, 40
TRAIN = RUN_UNIT[UnitKind.train]


@pytest.fixture(params=["folder", "redis"])
def queue(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """The settings of a queue on each broker."""
    url = request.getfixturevalue("redis_url") if request.param == "redis" else ""
    return Settings(state=tmp_path, broker_url=url)


@pytest.fixture
def bell(queue: Settings) -> Iterator[Bell]:
    """A bell on an empty queue."""
    take_all(queue)
    opened = Bell(queue)
    yield opened
    opened.close()


def take_all(settings: Settings, name: str = UNITS[UnitKind.train]) -> list[tuple[str, Any]]:
    """Take every message out of a queue: the task and its arguments."""
    return [(message.headers["task"], message.payload[0]) for message in messages_of(settings, name)]


def messages_of(settings: Settings, name: str) -> list[Any]:
    """Take every message out of a queue."""
    with celery_app(settings) as app, app.connection_for_read() as connection:
        messages = connection.SimpleQueue(app.amqp.queues[name])
        taken = []
        while True:
            try:
                message = messages.get(block=False)
            except messages.Empty:
                messages.close()
                return taken
            message.ack()
            taken.append(message)


def ring_often(settings: Settings, sender: int) -> None:
    bell = Bell(settings)
    for number in range(EACH):
        assert bell.ring(TRAIN, f"unit-{sender}-{number}")
    bell.close()


def test_each_task_has_its_queue(queue: Settings, bell: Bell) -> None:
    assert bell.ring(TRAIN, "unit-1")
    assert bell.ring(RUN_UNIT[UnitKind.ingest], "unit-2")
    assert bell.ring(DRAW, "draw-1")
    assert take_all(queue, "units-ingest") == [("worker.units.ingest", ["unit-2"])]
    assert take_all(queue, "units-train") == [("worker.units.train", ["unit-1"])]
    assert take_all(queue, "drawings") == [("worker.serve.ring", ["draw-1"])]


@pytest.mark.usefixtures("bell")
def test_a_message_is_answered_once(queue: Settings, bell: Bell) -> None:
    name = UNITS[UnitKind.train]
    assert bell.ring(RUN_UNIT[UnitKind.train], "unit-1")
    assert [bell.answer(UNITS[UnitKind.encode]), bell.answer(name), bell.answer(name)] == [False, True, False]
    assert take_all(queue) == []


def test_several_send_while_one_takes(queue: Settings) -> None:
    """Nothing is lost, doubled, or read before it is whole."""
    senders = [threading.Thread(target=ring_often, args=(queue, each)) for each in range(SENDERS)]
    for sender in senders:
        sender.start()
    taken = []
    while any(sender.is_alive() for sender in senders):
        taken += take_all(queue)
    taken += take_all(queue)
    assert sorted(payload[0] for _, payload in taken) == sorted(
        f"unit-{sender}-{n}" for sender in range(SENDERS) for n in range(EACH)
    )


def test_a_folder_leaves_no_message_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/does/not/exist")
    settings = Settings(state=tmp_path)
    ring_often(settings, 0)
    [first, *_] = sorted((queue_folder(settings) / "messages").iterdir())
    assert json.loads(first.read_text())["headers"]["task"] == TRAIN
    assert len(take_all(settings)) == EACH
    assert list((queue_folder(settings) / "messages").iterdir()) == []


def test_two_readers_share_the_messages_of_a_folder(tmp_path: Path) -> None:
    settings = Settings(state=tmp_path)
    ring_often(settings, 0)
    taken: list[tuple[str, Any]] = []
    readers = [threading.Thread(target=lambda: taken.extend(take_all(settings))) for _ in range(2)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert len(taken) == EACH
    assert len({payload[0] for _, payload in taken}) == EACH


def test_a_queue_that_is_there_passes(queue: Settings) -> None:
    check_broker(queue)


def test_a_queue_that_is_down_costs_a_warning(tmp_path: Path) -> None:
    settings = Settings(state=tmp_path, broker_url=f"redis://127.0.0.1:{free_ports(1)[0]}/0")
    bell = Bell(settings)
    assert not bell.ring(TRAIN, "unit-1")
    bell.close()
    with pytest.raises(Unavailable):
        check_broker(settings)


def test_a_queue_that_is_down_has_no_message_to_answer(tmp_path: Path) -> None:
    bell = Bell(Settings(state=tmp_path, broker_url="redis://127.0.0.1:1/0"))
    assert not bell.answer(UNITS[UnitKind.train])
    bell.close()


def test_a_redis_that_evicts_is_refused(tmp_path: Path) -> None:
    with redis_server("--maxmemory-policy", "allkeys-lru") as url:
        settings = Settings(state=tmp_path, broker_url=url)
        with pytest.raises(ValueError, match="noeviction"):
            check_broker(settings)


def test_work_is_never_acknowledged_late(queue: Settings) -> None:
    conf = celery_app(queue).conf
    assert conf.task_acks_late is False
    assert conf.worker_prefetch_multiplier == 1
    assert conf.worker_enable_remote_control is False
    assert conf.task_ignore_result is True


def test_a_doorbell_rings_after_the_commit(database: Database, settings: Settings) -> None:
    with transaction(database) as session:
        outbox.enqueue(session, task=TRAIN, payload="unit-1")
        session.flush()
        assert take_all(settings) == []
    assert take_all(settings) == [(TRAIN, ["unit-1"])]
    with transaction(database) as session:
        assert session.scalars(select(Outbox.sent_at)).one() is not None


def test_a_rolled_back_doorbell_never_rings(database: Database, settings: Settings) -> None:
    def break_off() -> None:
        with transaction(database) as session:
            outbox.enqueue(session, task=TRAIN, payload="unit-1")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        break_off()
    assert take_all(settings) == []


def test_the_relay_rings_what_was_not_sent(database: Database, settings: Settings) -> None:
    """As when the process is killed between the commit and the message."""
    with transaction(database) as session:
        session.add(Outbox(id="msg-1", task=TRAIN, payload="unit-1", created_at=utcnow()))
    assert outbox.relay(database, settings) == 0
    later = utcnow() + timedelta(seconds=settings.doorbell_seconds + 1)
    assert outbox.relay(database, settings, now=later) == 1
    assert outbox.relay(database, settings, now=later) == 0
    assert take_all(settings) == [(TRAIN, ["unit-1"])]


def test_the_relay_forgets_what_was_sent_long_ago(database: Database, settings: Settings) -> None:
    with transaction(database) as session:
        outbox.enqueue(session, task=TRAIN, payload="unit-1")
    outbox.relay(database, settings, now=utcnow() + timedelta(hours=1, seconds=5))
    with transaction(database) as session:
        assert session.scalars(select(Outbox)).all() == []


def test_a_commit_stands_when_the_queue_is_down(database: Database, settings: Settings) -> None:
    down = settings.model_copy(update={"broker_url": f"redis://127.0.0.1:{free_ports(1)[0]}/0"})
    alone = Database(down)
    with transaction(alone) as session:
        outbox.enqueue(session, task=TRAIN, payload="unit-1")
    alone.dispose()
    with transaction(database) as session:
        assert session.scalars(select(Outbox.sent_at)).one() is None
    later = utcnow() + timedelta(seconds=settings.doorbell_seconds + 1)
    assert outbox.relay(database, settings, now=later) == 1


def test_a_message_that_is_sent_later_is_still_of_the_request_that_caused_it(
    database: Database, settings: Settings
) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    job_id = make_job(database, ready_dataset(database))
    with transaction(database) as session:
        origin = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
        session.execute(update(Job).where(Job.id == job_id).values(origin=origin))
        session.execute(update(Outbox).values(sent_at=None))
    for kind in (UnitKind.encode, UnitKind.ingest):
        take_all(settings, UNITS[kind])
    later = utcnow() + timedelta(seconds=settings.doorbell_seconds + 60)
    assert outbox.relay(database, settings, now=later) >= 2
    [encode] = messages_of(settings, UNITS[UnitKind.encode])
    assert encode.headers["traceparent"].split("-")[1] == trace
    [ingest] = messages_of(settings, UNITS[UnitKind.ingest])
    assert "traceparent" not in ingest.headers  # nobody's request is known
