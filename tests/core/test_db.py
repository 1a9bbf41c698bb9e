"""Transactions on both databases: what is seen, who waits, what is rung."""

import threading
import time

import pytest
from psycopg.errors import IdleInTransactionSessionTimeout
from sqlalchemy import func, select, text
from sqlalchemy.exc import IntegrityError, OperationalError

from core import outbox
from core.clock import database_now, utcnow
from core.db import Database, transaction
from core.models import File, Outbox, Project, UnitKind
from core.queue import RUN_UNIT
from core.settings import Settings

WRITERS, ROUNDS = 4, 15


def test_a_transaction_commits_at_its_end(database: Database) -> None:
    with transaction(database) as session:
        session.add(Project(id="proj-a", name="a"))
    with transaction(database) as session:
        assert session.get_one(Project, "proj-a").name == "a"


def test_an_error_undoes_it_all(database: Database) -> None:
    def break_off() -> None:
        with transaction(database) as session:
            session.add(Project(id="proj-a", name="a"))
            outbox.enqueue(session, task=RUN_UNIT[UnitKind.train], payload="unit-1")
            session.flush()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        break_off()
    with transaction(database) as session:
        assert session.get(Project, "proj-a") is None
        assert session.scalar(select(func.count()).select_from(Outbox)) == 0


def test_foreign_keys_are_checked(database: Database) -> None:
    orphan = File(
        id="file-x", project_id="proj-nobody", filename="x", purpose="fine-tune", bytes=1, sha256="", key="k"
    )
    with pytest.raises(IntegrityError), transaction(database) as session:
        session.add(orphan)


def test_read_then_write_loses_nothing_and_never_finds_the_database_locked(
    database: Database, settings: Settings
) -> None:
    """Two engines, as in two processes: each reads, thinks, and writes on the ground of what it read."""
    with transaction(database) as session:
        session.add(Project(id="proj-count", name="0"))
    other = Database(settings)
    errors: list[BaseException] = []

    def add(engine: Database) -> None:
        try:
            for _ in range(ROUNDS):
                with transaction(engine) as session:
                    project = session.get_one(Project, "proj-count", with_for_update=True)
                    project.name = str(int(project.name) + 1)
        except BaseException as error:  # noqa: BLE001  told below
            errors.append(error)

    threads = [threading.Thread(target=add, args=(each,)) for each in (database, other) * (WRITERS // 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.dispose()
    assert errors == []
    with transaction(database) as session:
        assert session.get_one(Project, "proj-count").name == str(WRITERS * ROUNDS)


def test_the_databases_clock_is_utc_and_compares_with_columns(database: Database) -> None:
    with transaction(database) as session:
        now = session.scalar(select(database_now()))
        assert now is not None
        assert now.utcoffset() is not None
        assert abs((now - utcnow()).total_seconds()) < 5
        session.add(Outbox(id="msg-1", task="t", payload="p", created_at=utcnow()))
        session.flush()
        early = select(Outbox.id).where(Outbox.created_at < database_now(plus=60))
        late = select(Outbox.id).where(Outbox.created_at < database_now(plus=-60))
        assert session.scalars(early).all() == ["msg-1"]
        assert session.scalars(late).all() == []


def test_a_moment_comes_back_as_it_went(database: Database) -> None:
    moment = utcnow()
    with transaction(database) as session:
        session.add(Project(id="proj-t", name="t", created_at=moment))
    with transaction(database) as session:
        assert session.get_one(Project, "proj-t").created_at == moment


@pytest.mark.parametrize("settings", ["embedded"], indirect=True)
def test_sqlite_is_set_up_for_several_processes(database: Database) -> None:
    with transaction(database) as session:
        assert session.scalar(text("PRAGMA journal_mode")) == "wal"
        assert session.scalar(text("PRAGMA foreign_keys")) == 1
        assert session.scalar(text("PRAGMA busy_timeout")) == 30_000


def test_a_client_that_is_frozen_in_a_transaction_holds_its_locks_not_for_long(database: Database) -> None:
    """A worker on a paused host would keep its job's row, and with it everyone else, from going on."""
    if database.engine.dialect.name == "sqlite":
        return  # whose locks end with the process, and whose host is the same
    with transaction(database) as session:
        assert session.scalar(text("SHOW idle_in_transaction_session_timeout")) == "10s"
        assert session.scalar(text("SHOW lock_timeout")) == "10s"


@pytest.mark.parametrize("settings", ["cluster"], indirect=True)
def test_who_stood_still_for_too_long_lost_the_database_for_a_moment(database: Database) -> None:
    """That is no error of its own: the API answers that it can be asked again, and workers insist."""
    with pytest.raises(OperationalError) as ended:
        _stand_still(database)
    assert isinstance(ended.value.orig, IdleInTransactionSessionTimeout)
    with transaction(database) as session:
        assert session.scalar(text("SELECT 1")) == 1


def _stand_still(database: Database) -> None:
    """Do nothing in a transaction until PostgreSQL ends the session, then go on."""
    with transaction(database) as session:
        session.execute(text("SET LOCAL idle_in_transaction_session_timeout = '50ms'"))
        backend = session.scalar(text("SELECT pg_backend_pid()"))
        alive = text("SELECT count(*) FROM pg_stat_activity WHERE pid = :pid")
        with database.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as other:
            while other.scalar(alive, {"pid": backend}):
                time.sleep(0.02)
        session.execute(text("SELECT 1"))
