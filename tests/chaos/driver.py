"""One chaos run: jobs are submitted while faults hit, and what is left is held against the invariants."""

import json
import queue
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import psycopg
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from core import files
from core.clock import utcnow
from core.db import transaction
from core.models import Outbox
from core.runs import garbage, leftovers
from tests.chaos import faults, invariants
from tests.chaos.history import History, read
from tests.chaos.invariants import Breach
from tests.chaos.requests import KINDS, SEED, Requests, method
from tests.chaos.scene import FAILING, KILLED, Missed, Scene, Target, ended
from tests.chaos.schedule import Fault
from tests.chaos.stack import Stack, stack
from tests.services import LOOPBACK
from tests.worker.platform import archive, engine_alone, engines, weights_in
from tests.worker.processes import within

ROWS = 8
LANES = 6
TRIES = 4
DRAIN_SECONDS = 600.0
OWED = """
SELECT min(extract(epoch FROM greatest(due_at, busy_until) - clock_timestamp()))::float
FROM webhook_delivery JOIN webhook_endpoint ON webhook_endpoint.id = endpoint_id WHERE state = 'pending'
"""
Weights = dict[str, dict[int, dict[str, str]]]


@dataclass(frozen=True)
class Injected:
    """A fault that hit, and the claims that it hit."""

    fault: Fault
    targets: tuple[Target, ...]


@dataclass(frozen=True)
class Outcome:
    """What came of a run."""

    injected: tuple[Injected, ...]
    missed: tuple[Fault, ...]
    """Those whose moment never came."""
    history: History
    breaches: tuple[Breach, ...]
    refused: frozenset[tuple[str, int]]
    """Claims, by unit and fence, that were told that they are stale."""
    seconds: float


def run(folder: Path, *, planned: list[Fault], workers: int, tell: Callable[[str], object] = str) -> Outcome:
    """Run the stack in a folder under these faults, and tell how it goes on."""
    began = time.monotonic()
    zipped = archive(folder, ROWS).read_bytes()
    with ExitStack() as parts:
        made = parts.enter_context(stack(folder, workers=workers))
        requests = Requests(made.url, made.key())
        _listen(made, requests)
        scene = Scene(made, requests, zipped, requests.dataset(zipped))
        watching = threading.Thread(target=scene.watch, name="watch", daemon=True)
        watching.start()
        try:
            injected, missed = _disturb(scene, planned, tell)
            tell("every fault was injected; the jobs that are left go on to their end")
            _drain(made, requests)
        finally:
            scene.end()
            watching.join()
        left = len(engines(made.work))
        made.end()
        _collect_garbage(made)
        history = read(
            made.database,
            made.store,
            accepted=requests.accepted,
            reference=undisturbed(folder),
            processes=left,
            sent={path: tuple(got) for path, got in made.receiver.got.items()},
        )
    breaches = tuple(invariants.check(history))
    return Outcome(injected, missed, history, breaches, refused(folder), time.monotonic() - began)


def _listen(made: Stack, requests: Requests) -> None:
    for path in (KILLED, FAILING):
        made.receiver.expect(path, requests.listen(f"http://{LOOPBACK}:{made.hooks.port}{path}"))


def _disturb(
    scene: Scene, planned: list[Fault], tell: Callable[[str], object]
) -> tuple[tuple[Injected, ...], tuple[Fault, ...]]:
    """Inject the faults, several at a time, while there are always jobs to be hit."""
    began = time.monotonic()
    waiting: queue.SimpleQueue[Fault] = queue.SimpleQueue()
    for fault in planned:
        waiting.put(fault)
    injected: list[Injected] = []
    missed: list[Fault] = []

    def lane() -> None:
        while True:
            try:
                fault = waiting.get_nowait()
            except queue.Empty:
                return
            targets = _insist(scene, fault)
            if targets is None:
                missed.append(fault)
            else:
                injected.append(Injected(fault, tuple(targets)))
            done, seconds = len(injected) + len(missed), time.monotonic() - began
            how = "hit" if targets is not None else "missed"
            tell(f"{seconds:6.1f} s  {done}/{len(planned)}  {fault.victim}, {fault.moment}: {how}")

    lanes = [threading.Thread(target=lane, name=f"lane-{n}", daemon=True) for n in range(LANES)]
    for each in lanes:
        each.start()
    jobs: list[str] = []
    while any(each.is_alive() for each in lanes):
        try:
            jobs = [job for job in jobs if not ended(scene.stack, [job])]
        except SQLAlchemyError:  # it is down just now
            continue
        if len(jobs) <= len(scene.stack.workers):
            jobs.append(scene.submit(len(scene.requests.accepted)))
        time.sleep(0.2)
    return tuple(injected), tuple(missed)


def _insist(scene: Scene, fault: Fault) -> list[Target] | None:
    """Inject a fault; again, when another one took its moment away."""
    for _ in range(TRIES):
        try:
            return faults.hit(scene, fault, fault.number)
        except (Missed, psycopg.Error, SQLAlchemyError):
            time.sleep(0.2)
    return None


def _drain(made: Stack, requests: Requests) -> None:
    """Wait until nothing is left to do. Whatever is left after that is a breach, not an error."""
    deadline = time.monotonic() + DRAIN_SECONDS
    while not ended(made, list(requests.accepted.values())) and time.monotonic() < deadline:
        time.sleep(0.3)
    within(120, lambda: not engines(made.work) and _unsent(made) == 0)
    _deliver(made, deadline)


def _deliver(made: Stack, deadline: float) -> None:
    """Let the database's clock pass over the leases and waits of webhooks until nothing is owed."""
    with made.postgres.connect() as connection:
        while time.monotonic() < deadline:
            time.sleep(2)  # for the beat, which looks once a second
            [seconds] = connection.execute(OWED).fetchone() or [None]
            if seconds is None:
                return
            if seconds > 0:
                made.postgres.move_clock(seconds)


def _unsent(made: Stack) -> int:
    with transaction(made.database) as session:
        return session.scalar(select(func.count()).select_from(Outbox).where(Outbox.sent_at.is_(None))) or 0


def _collect_garbage(made: Stack) -> None:
    later = utcnow() + timedelta(days=2)
    leftovers.clear(made.database, made.store, limit=1_000_000, now=later)
    files.clear_lost(made.database, made.store, now=later)
    garbage.sweep(made.database, made.store, now=later)


def refused(folder: Path) -> frozenset[tuple[str, int]]:
    """Return the claims whose worker was told by the database that they are stale, as its log says."""
    found = set()
    for log in folder.glob("units-*.log"):
        for text in log.read_text(errors="replace").splitlines():
            if '"unit_lost"' in text or '"order": "lost"' in text:
                line = json.loads(text) if text.startswith("{") else {}
                if "unit" in line:
                    found.add((line["unit"], line["fence"]))
    return frozenset(found)


def undisturbed(folder: Path) -> Weights:
    """Run each kind of job by the engine alone; return the sha256 of its weights by iteration and path."""
    return {kind: _trained(engine_alone(folder, method(kind), seed=SEED, name=kind)) for kind in KINDS}


def _trained(work: Path) -> dict[int, dict[str, str]]:
    return {
        int(iteration.name.rpartition("-")[2]): weights_in(iteration / "trained")
        for iteration in work.glob("iteration-*")
    }
