"""Readiness names the part that is missing."""

from pathlib import Path

from sqlalchemy import text

from core import health, workers
from core.clock import database_now
from core.db import Database, transaction
from core.models import WorkerNode
from core.settings import Settings
from core.storage.store import store_for
from tests.services import free_ports


def check(settings: Settings, database: Database) -> dict[str, str]:
    return health.check(settings, database, store_for(settings))


def test_all_is_well_once_a_worker_was_seen(settings: Settings, database: Database) -> None:
    before = check(settings, database)
    assert {part for part, state in before.items() if state != "ok"} == {"workers"}
    with transaction(database) as session:
        workers.heartbeat(session, name="units-1@host", kind="units")
    assert set(check(settings, database).values()) == {"ok"}


def test_a_worker_that_fell_silent_does_not_count(settings: Settings, database: Database) -> None:
    with transaction(database) as session:
        session.add(
            WorkerNode(name="old", kind="units", seen_at=database_now(plus=-workers.SEEN_SECONDS - 5))
        )
    assert check(settings, database)["workers"] == "none was seen in the last 60 seconds"
    with transaction(database) as session:
        workers.heartbeat(session, name="old", kind="units")
    assert check(settings, database)["workers"] == "ok"


def test_tables_of_another_version_are_told(settings: Settings, database: Database) -> None:
    with database.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0000'"))
    assert "core.migrate" in check(settings, database)["database"]


def test_each_part_that_is_down_is_named_without_its_address(tmp_path: Path) -> None:
    port = free_ports(1)[0]
    settings = Settings(
        state=tmp_path,
        database_url=f"postgresql://user:not-to-be-seen@127.0.0.1:{port}/n",
        store_url=f"s3://user:not-to-be-seen@127.0.0.1:{port}/b?secure=0",
        broker_url=f"redis://:not-to-be-seen@127.0.0.1:{port}/0",
    )
    database = Database(settings)
    found = check(settings, database)
    database.dispose()
    assert "ok" not in found.values()
    assert "not-to-be-seen" not in str(found)
    assert str(port) not in str(found)


def test_workers_not_seen_for_a_week_are_forgotten(database: Database) -> None:
    with transaction(database) as session:
        session.add(
            WorkerNode(name="old", kind="units", seen_at=database_now(plus=-workers.KEEP_SECONDS - 5))
        )
        workers.heartbeat(session, name="new", kind="units")
    with transaction(database) as session:
        assert workers.sweep(session) == 1
        assert workers.seen(session) == {"units": 1}
