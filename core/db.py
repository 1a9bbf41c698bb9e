"""The database: its engine, and the one place that commits."""

import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from opentelemetry.trace import SpanKind
from sqlalchemy import Engine, ExceptionContext, create_engine, event, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, sessionmaker

from core.clock import database_now
from core.models import Outbox
from core.queue import Bell
from core.settings import Settings
from core.tracing import carried, is_traced, mark_failed, span

BUSY_MILLISECONDS = 30_000
LOOKS = "spindle_looks"
NOWHERE: Mapping[str, Mapping[str, str]] = {}
POSTGRES_OPTIONS = "-c lock_timeout=10s -c statement_timeout=60s -c idle_in_transaction_session_timeout=10s"
IDLE_IN_TRANSACTION = "25P03"  # the SQLSTATE of what that last limit ends


def engine_for(url: str) -> Engine:
    """Return an engine for SQLite or PostgreSQL."""
    if url.startswith("sqlite"):
        engine = create_engine(
            url, pool_size=10, max_overflow=40, connect_args={"timeout": BUSY_MILLISECONDS / 1000}
        )
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_immediate)
        return engine
    engine = create_engine(
        url,
        pool_size=10,
        max_overflow=20,
        pool_timeout=10,
        pool_pre_ping=True,
        connect_args={"options": POSTGRES_OPTIONS},
    )
    event.listen(engine, "handle_error", _told_as_away)
    return engine


def _told_as_away(context: ExceptionContext) -> Exception | None:
    """Tell of a session that PostgreSQL ended, since its process stood still, as of any other that broke.

    The driver calls it an internal error, after which nobody would try again.
    """
    ended = context.original_exception
    if getattr(ended, "sqlstate", None) != IDLE_IN_TRANSACTION:
        return None
    return OperationalError(context.statement, context.parameters, ended)


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
    looks = connection.get_execution_options().get(LOOKS, False)
    connection.exec_driver_sql("BEGIN" if looks else "BEGIN IMMEDIATE")


class Database:
    """The engine and the bell of one process."""

    def __init__(self, settings: Settings) -> None:
        if settings.database_url.startswith("sqlite"):
            settings.state.mkdir(parents=True, exist_ok=True)
        self.engine = engine_for(settings.database_url)
        told: dict[str, Any] = {"expire_on_commit": False, "info": {"settings": settings}}
        self.sessions = sessionmaker(self.engine, **told)
        self.looks = sessionmaker(self.engine.execution_options(**{LOOKS: True}), **told)
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


@contextmanager
def look(database: Database) -> Iterator[Session]:
    """Open a session that only reads: on SQLite it neither waits for who writes nor makes anyone wait.

    For what is asked many times a second.
    """
    with database.looks() as session:
        yield session


def send(
    database: Database, doorbells: list[Outbox], *, origins: Mapping[str, Mapping[str, str]] = NOWHERE
) -> int:
    """Send messages of committed outbox rows, mark those that went out, and return how many did.

    Args:
        database: whose outbox it is.
        doorbells: the rows.
        origins: what caused each, by the row's id, where that is not what runs now.
    """
    sent = []
    for doorbell in doorbells:
        if not _ring(database, doorbell, origins.get(doorbell.id)):
            break  # the others would wait for the same timeout; the relay has them
        sent.append(doorbell.id)
    if sent:
        with database.sessions.begin() as session:
            session.execute(update(Outbox).where(Outbox.id.in_(sent)).values(sent_at=database_now()))
    return len(sent)


def _ring(database: Database, doorbell: Outbox, origin: Mapping[str, str] | None) -> bool:
    """Send one message; where something traced caused it, in a span that the message carries on."""
    if origin is None and not is_traced():
        return database.bell.ring(doorbell.task, doorbell.payload)
    told: dict[str, Any] = {"payload": doorbell.payload, "relayed": origin is not None or None}
    with span(f"send {doorbell.task}", origin=origin, role=SpanKind.PRODUCER, **told):
        sent = database.bell.ring(doorbell.task, doorbell.payload, headers=carried())
        if not sent:
            mark_failed("unavailable", "the queue did not take the message; the relay sends it again")
    return sent
