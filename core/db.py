"""The database: its engine, and the one place that commits."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, create_engine, event, update
from sqlalchemy.orm import Session, sessionmaker

from core.clock import database_now
from core.models import Outbox
from core.queue import Bell
from core.settings import Settings

BUSY_MILLISECONDS = 30_000
POSTGRES_OPTIONS = "-c lock_timeout=10s -c statement_timeout=60s -c idle_in_transaction_session_timeout=10s"


def engine_for(url: str) -> Engine:
    """Return an engine for SQLite or PostgreSQL."""
    if url.startswith("sqlite"):
        engine = create_engine(
            url, pool_size=10, max_overflow=40, connect_args={"timeout": BUSY_MILLISECONDS / 1000}
        )
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_immediate)
        return engine
    return create_engine(
        url,
        pool_size=10,
        max_overflow=20,
        pool_timeout=10,
        pool_pre_ping=True,
        connect_args={"options": POSTGRES_OPTIONS},
    )


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # the driver's own BEGIN comes too late; ours is below
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={BUSY_MILLISECONDS}")
    _turn_on_wal(cursor)
    for pragma in ("synchronous=NORMAL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _turn_on_wal(cursor: Any) -> None:
    """Set the file's journal mode, again while another process does: SQLite does not wait for it here."""
    deadline = time.monotonic() + BUSY_MILLISECONDS / 1000
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def _begin_immediate(connection: Any) -> None:
    """Take the write lock at the start: a transaction that reads first could never wait for it later."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")


class Database:
    """The engine and the bell of one process."""

    def __init__(self, settings: Settings) -> None:
        if settings.database_url.startswith("sqlite"):
            settings.state.mkdir(parents=True, exist_ok=True)
        self.engine = engine_for(settings.database_url)
        self.sessions = sessionmaker(self.engine, expire_on_commit=False, info={"settings": settings})
        self.bell = Bell(settings)

    def dispose(self) -> None:
        """Close every connection."""
        self.engine.dispose()
        self.bell.close()


def settings_of(session: Session) -> Settings:
    """Return the settings of the database that a session belongs to."""
    found = session.info["settings"]
    assert isinstance(found, Settings)
    return found


@contextmanager
def transaction(database: Database) -> Iterator[Session]:
    """Open a session and commit at the end, or roll back; then send the messages that the outbox was given.

    Nothing slow belongs inside. This is the only commit.
    """
    with database.sessions() as session:
        try:
            yield session
            session.commit()
        except BaseException:
            session.rollback()
            raise
        doorbells: list[Outbox] = session.info.pop("doorbells", [])
    if doorbells:
        send(database, doorbells)


def send(database: Database, doorbells: list[Outbox]) -> int:
    """Send messages of committed outbox rows, mark those that went out, and return how many did."""
    sent = []
    for doorbell in doorbells:
        if not database.bell.ring(doorbell.task, doorbell.payload):
            break  # the others would wait for the same timeout; the relay has them
        sent.append(doorbell.id)
    if sent:
        with database.sessions.begin() as session:
            session.execute(update(Outbox).where(Outbox.id.in_(sent)).values(sent_at=database_now()))
    return len(sent)
