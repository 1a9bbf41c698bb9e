"""``python -m core.doctor``: what of a platform works, what does not, and what to do about it.

Every part is really used: a row is read, an object is written and read back, messages are counted. One JSON
object a part; the exit code is 1 when a part fails.
"""

import io
import json
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from core import schema
from core.clock import database_now, utcnow
from core.db import Database, transaction
from core.errors import AppError
from core.logs import configure_logs
from core.migrate import refusal
from core.models import Drawing, DrawingState, Unit, UnitState, WorkerNode
from core.queue import check_broker, messages
from core.settings import Settings
from core.storage.store import ObjectStore, store_for
from core.workers import SEEN_SECONDS

SKEW_SECONDS = 2.0
UNHEARD_SECONDS = 30.0
STORE_SKEW_SECONDS = 900.0  # S3 refuses requests whose time is this far off
GIB = 1 << 30
LITTLE_BYTES, TOO_LITTLE_BYTES = 10 * GIB, GIB
MANY_MESSAGES = 10_000


class Health(StrEnum):
    """How a part is."""

    ok = "ok"
    warn = "warn"
    fail = "fail"


@dataclass(frozen=True)
class Finding:
    """What was found of one part."""

    part: str
    health: Health
    told: str
    todo: str = ""


def ok(part: str, told: str) -> Finding:
    """Return that a part works."""
    return Finding(part, Health.ok, told)


def warn(part: str, told: str, todo: str) -> Finding:
    """Return that a part works, but should be looked after."""
    return Finding(part, Health.warn, told, todo)


def fail(part: str, told: str, todo: str) -> Finding:
    """Return that a part does not work."""
    return Finding(part, Health.fail, told, todo)


def examine(settings: Settings) -> Iterator[Finding]:
    """Yield what is found, part by part; one that cannot be reached is told and hides no other."""
    database, store = Database(settings), store_for(settings)
    try:
        parts: list[tuple[str, Callable[[], Finding], str]] = [
            ("database", lambda: check_database(database), "start it, or mend SPINDLE_DATABASE_URL"),
            ("database clock", lambda: check_clock(database), "mend the database first"),
            ("queue", lambda: check_queue(settings), "start it, or mend SPINDLE_BROKER_URL"),
            ("store", lambda: check_store(store), "start it, or mend SPINDLE_STORE_URL"),
            ("workers", lambda: check_workers(database), "mend the database first"),
            ("beat", lambda: check_beat(database), "mend the database first"),
            ("gpu", check_gpu, "run `nvidia-smi` and mend what it tells"),
            ("disk", lambda: check_disk(settings), "mend SPINDLE_STATE"),
        ]
        for part, check, todo in parts:
            yield tried(part, check, todo)
    finally:
        database.dispose()


def tried(part: str, check: Callable[[], Finding], todo: str) -> Finding:
    """Return what a check finds, or that it could not be done."""
    try:
        return check()
    except (AppError, SQLAlchemyError, OSError, ValueError) as error:
        return fail(part, refusal(error)[:300], todo)


def check_database(database: Database) -> Finding:
    """Reach it, and compare its tables' version."""
    with database.engine.connect() as connection:
        here = schema.current(connection)
    kind = database.engine.dialect.name
    if here != schema.newest():
        told = f"{kind} answers, but its tables are at revision {here}, not {schema.newest()}"
        return fail("database", told, "run `python -m core.migrate`; `spindle up` does it at its start")
    return ok("database", f"{kind} answers, its tables are at revision {here}")


def check_clock(database: Database) -> Finding:
    """Compare this host's clock with the database's, which leases go by."""
    with transaction(database) as session:
        before = utcnow()
        there = session.scalar(select(database_now()))
        after = utcnow()
    assert there is not None
    skew = (there - before - (after - before) / 2).total_seconds()
    told = f"the database's clock is {abs(skew):.2f} s {'ahead of' if skew > 0 else 'behind'} this host's"
    if abs(skew) > SKEW_SECONDS:
        return warn(
            "database clock", told, "synchronise both with NTP: leases are right, times shown are not"
        )
    return ok("database clock", told)


def check_queue(settings: Settings) -> Finding:
    """Reach it, see that it keeps messages, and count those that wait."""
    check_broker(settings)
    waiting = messages(settings)
    count = sum(waiting.values())
    told = "answers, never throws messages away, and holds "
    told += ", ".join(f"{number} for {name}" for name, number in sorted(waiting.items()) if number) or "none"
    if count > MANY_MESSAGES:
        return warn("queue", told, "start workers for these queues; messages are doorbells, none is needed")
    return ok("queue", told)


def check_store(store: ObjectStore) -> Finding:
    """Write an object, read it back, look at its time, delete it."""
    key, data = f"doctor/{secrets.token_hex(8)}", secrets.token_bytes(1024)
    before = utcnow()
    store.put(key, io.BytesIO(data), len(data))
    try:
        with store.open(key) as stream:
            if stream.read() != data:
                return fail("store", "it gave back other bytes than were put", "look at its disks")
        found = store.stat(key)
    finally:
        store.delete(key)
    assert found is not None
    after = utcnow()
    early, late = before - found.modified, found.modified - after
    skew = max(early, late, timedelta()).total_seconds()
    told = f"an object was put, read back and deleted; its clock differs by {skew:.0f} s at most"
    if skew > STORE_SKEW_SECONDS / 3:
        todo = f"synchronise both with NTP: S3 refuses a difference of {STORE_SKEW_SECONDS:.0f} s"
        return warn("store", told, todo)
    return ok("store", told)


def check_workers(database: Database) -> Finding:
    """See who lives, and whether each hears its queue when there is work."""
    with transaction(database) as session:
        alive = _alive(session)
        now = session.scalar(select(database_now()))
        units = session.scalar(select(Unit.id).where(Unit.state == UnitState.pending).limit(1))
        drawings = session.scalar(select(Drawing.id).where(Drawing.state == DrawingState.pending).limit(1))
        busy = set(session.scalars(select(Unit.worker).where(Unit.state == UnitState.running)))
    assert now is not None
    deaf = [
        worker.name
        for worker in alive
        if worker.name not in busy
        and worker.unheard_since is not None
        and (now - worker.unheard_since).total_seconds() > UNHEARD_SECONDS
    ]
    kinds = {worker.kind for worker in alive}
    told = ", ".join(f"{worker.name}{' (busy)' * (worker.name in busy)}" for worker in alive) or "none alive"
    if deaf:
        return fail(
            "workers",
            f"alive but not consuming, though there is work: {', '.join(deaf)}",
            "restart them; each ends by itself after a minute, for its supervisor to start it again",
        )
    for kind, waiting, what in (("units", units, "units"), ("serve", drawings, "pictures")):
        if waiting is not None and kind not in kinds:
            return fail("workers", f"{told}; {what} wait", f"start one: `python -m worker {kind}`")
    if "units" not in kinds:
        return warn("workers", f"{told}; nothing waits", "start one before a job: `python -m worker units`")
    return ok("workers", f"alive and consuming: {told}")


def check_beat(database: Database) -> Finding:
    """See that somebody sends lost messages and takes units from lost workers."""
    with transaction(database) as session:
        beats = [worker.name for worker in _alive(session) if worker.kind == "beat"]
    if not beats:
        todo = "start one, `python -m worker beat`: without it lost messages and lost workers are found late"
        return warn("beat", f"none was seen in the last {SEEN_SECONDS:.0f} s", todo)
    return ok("beat", ", ".join(beats))


def _alive(session: Session) -> list[WorkerNode]:
    recent = WorkerNode.seen_at > database_now(plus=-SEEN_SECONDS)
    return list(session.scalars(select(WorkerNode).where(recent).order_by(WorkerNode.name)))


def check_gpu(command: str = "nvidia-smi") -> Finding:
    """Ask the driver; a host without one works on its processor."""
    if shutil.which(command) is None:
        return ok("gpu", "no NVIDIA driver on this host: units run on its processor")
    query = [command, "--query-gpu=name,memory.total,memory.used", "--format=csv,noheader"]
    ran = subprocess.run(query, capture_output=True, text=True, timeout=20, check=False)
    if ran.returncode:
        told = " ".join((ran.stdout + ran.stderr).split())[:200]
        todo = "a container can lose its GPUs when systemd reloads: restart the container, or the driver"
        return fail("gpu", f"nvidia-smi fails: {told}", todo)
    return ok("gpu", "; ".join(ran.stdout.strip().splitlines()))


def check_disk(settings: Settings, usage: Callable[[Any], Any] = shutil.disk_usage) -> Finding:
    """See how much room the state folder has, where units work."""
    settings.state.mkdir(parents=True, exist_ok=True)
    free = usage(settings.state).free
    told = f"{free / GIB:.1f} GiB free in {settings.state}"
    todo = "make room, or lower SPINDLE_WORKER_CACHE_BYTES"
    if free < TOO_LITTLE_BYTES:
        return fail("disk", told, todo)
    return warn("disk", told, todo) if free < LITTLE_BYTES else ok("disk", told)


def main() -> int:
    """Print a JSON object for each part and return the exit code."""
    try:
        settings = Settings.load()
        configure_logs(settings)
    except (ValueError, ValidationError) as error:
        found = [fail("settings", refusal(error), "mend the environment")]
    else:
        found = list(examine(settings))
    for finding in found:
        sys.stdout.write(json.dumps(asdict(finding)) + "\n")
    return int(any(finding.health is Health.fail for finding in found))


if __name__ == "__main__":
    sys.exit(main())
