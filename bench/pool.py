"""A pool of claimers on a real database, with made-up units: how they share a job, whether they collide.

The pool's clock is simulated, so 64 workers need no 64 machines, and every statement is a real one: what it
took on the wall is added to the time of the claimer that waited for it.
"""

import heapq
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from core import datasets, files, intake, keys, migrate
from core.db import Database, transaction
from core.keys import DEFAULT_PROJECT
from core.models import Reason, Unit, UnitKind, UnitState
from core.runs import claims, jobs, units
from core.runs.claims import Claim
from core.settings import Settings
from core.storage.objects import Stored

START = datetime(2026, 1, 1, tzinfo=UTC)
LEASE = 30.0
LOOK_AGAIN = 5.0  # real workers look each second, and are rung for
GENERATE = (UnitKind.generate,)
MADE = {"files": [{"path": "made", "key": "k", "sha256": "a" * 64, "size": 1}]}
names = count(1)


@dataclass(frozen=True)
class Fates:
    """What happens to units.

    Attributes:
        seconds: a unit's mean duration; it is drawn between half and one and a half of it.
        failing: share of attempts that fail half way.
        dying: share of attempts whose worker dies half way and is back after a lease.
        seed: of the draws.
    """

    seconds: float = 20.0
    failing: float = 0.03
    dying: float = 0.02
    seed: int = 0

    def of(self, claim: Claim) -> tuple[str, float]:
        """Return how an attempt ends, and after how many seconds; the same whoever claims it when."""
        drawn = random.Random(f"{self.seed} {claim.shard} {claim.fence}")
        seconds, lot = self.seconds * drawn.uniform(0.5, 1.5), drawn.random()
        if lot < self.dying:
            return "dies", seconds / 2
        return ("fails", seconds / 2) if lot < self.dying + self.failing else ("succeeds", seconds)


@dataclass
class Shared:
    """How a pool shared one job's units.

    Attributes:
        claimers: how many there were.
        seconds: until the last unit was done, on the pool's clock.
        busy: seconds of work in all, in vain or not.
        attempts: claims by their ends.
        claim_seconds: mean time of a claim on the wall.
    """

    claimers: int
    seconds: float = 0.0
    busy: float = 0.0
    attempts: dict[str, int] = field(default_factory=dict)
    claim_seconds: float = 0.0

    @property
    def efficiency(self) -> float:
        """What sharing the same work with nothing lost would take, of what it took."""
        return self.busy / self.claimers / self.seconds


@dataclass(frozen=True)
class Raced:
    """What claimers that do nothing but claim got done.

    Attributes:
        claimers: threads, each with a connection of its own.
        units: claimed and finished.
        doubled: units that two claimers held at one time, or finished twice.
        per_second: units claimed and finished in a second.
    """

    claimers: int
    units: int
    doubled: int
    per_second: float


def open_pool(folder: Path, url: str, *, shards: int) -> Settings:
    """Return the settings of a migrated database in which a dataset of ``shards`` generate units is ready."""
    settings = Settings(
        state=folder, database_url=url, shard_rows=1, max_shards=shards, max_attempts=100, lease_seconds=LEASE
    )
    migrate.migrate(settings)
    return settings


def ready_dataset(database: Database, settings: Settings, *, rows: int) -> str:
    """Make a dataset of so many rows, which no one looked at; return its id."""
    with transaction(database) as session:
        keys.bootstrap_key(session, settings)
        stored = Stored(size=1, sha256="c" * 64)
        file = files.create_file(
            session,
            project_id=DEFAULT_PROJECT,
            filename="rows.zip",
            purpose="fine-tune",
            stored=stored,
            key=f"files/pool-{next(names)}",
        )
        dataset = datasets.create_dataset(
            session, project_id=DEFAULT_PROJECT, name=f"pool {next(names)}", file_id=file.id
        )
    claim = _claim(database, 0, kinds=(UnitKind.ingest,))
    assert claim is not None, "the dataset has its unit"
    found: dict[str, Any] = {
        "rows": rows,
        "rejected": [],
        "statistics": {},
        "sha256": "d" * 64,
        "shards": [],
        "pages": [],
    }
    with transaction(database) as session:
        intake.accept(session, claim, found=found, files=[])
    return dataset.id


def ready_job(database: Database, dataset_id: str) -> str:
    """Make a job whose generate units are all pending; return its id."""
    asked = {"n_iterations": 1, "steps": 1, "sft_steps": 0}
    method = {"type": "spin", "spin": {"hyperparameters": asked}}
    with transaction(database) as session:
        job_id = jobs.create_job(
            session, project_id=DEFAULT_PROJECT, model="starter", training_file=dataset_id, method=method
        ).id
    while (claim := _claim(database, 0, kinds=(UnitKind.encode,))) is not None:
        with transaction(database) as session:
            units.succeed_unit(session, claim, output=MADE)
    return job_id


def share(database: Database, job_id: str, *, claimers: int, fates: Fates) -> Shared:
    """Let a pool do a job's generate units, and return how it went."""
    found = Shared(claimers)
    free: list[tuple[float, int, Claim | None, str]] = [(0.0, number, None, "") for number in range(claimers)]
    asked, took = 0, 0.0
    while free:
        at, number, held, fate = heapq.heappop(free)
        began = time.perf_counter()
        if held is not None and fate != "dies":
            _finish(database, held, fate, at)
            if fate == "succeeds":
                found.seconds = max(found.seconds, at)
        before = time.perf_counter()
        claim = _claim(database, at, worker=f"units-{number}@pool", kinds=GENERATE)
        now = time.perf_counter()
        took, asked = took + now - before, asked + 1
        at += now - began
        if claim is not None:
            fate, seconds = fates.of(claim)
            found.attempts[fate] = found.attempts.get(fate, 0) + 1
            found.busy += seconds
            if fate != "dies":
                with transaction(database) as session:  # for all the renewals until it ends
                    claims.renew(session, claim, lease_seconds=seconds + LEASE, now=_at(at))
            heapq.heappush(free, (at + seconds + LEASE * (fate == "dies"), number, claim, fate))
        elif _left(database, job_id):
            heapq.heappush(free, (at + LOOK_AGAIN, number, None, ""))
    found.claim_seconds = took / asked
    return found


def race(settings: Settings, *, claimers: int) -> Raced:
    """Let as many threads claim and finish the pending generate units as fast as they can."""
    guard, held, ends, doubled = threading.Lock(), set[str](), Counter[str](), 0
    line = threading.Barrier(claimers + 1)

    def work(number: int) -> None:
        nonlocal doubled
        database = Database(settings)  # as a worker has one of its own
        line.wait()
        while (claim := _claim(database, 0, worker=f"units-{number}@pool", kinds=GENERATE)) is not None:
            with guard:
                doubled += claim.unit_id in held
                held.add(claim.unit_id)
            with transaction(database) as session:
                units.succeed_unit(session, claim, output=MADE)
            with guard:
                held.discard(claim.unit_id)
                ends[claim.unit_id] += 1
        database.dispose()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(claimers)]
    for thread in threads:
        thread.start()
    line.wait()
    began = time.perf_counter()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - began
    doubled += sum(times - 1 for times in ends.values())
    return Raced(claimers, len(ends), doubled, len(ends) / seconds)


def _finish(database: Database, claim: Claim, fate: str, at: float) -> None:
    with transaction(database) as session:
        if fate == "fails":
            units.fail_unit(session, claim, reason=Reason.internal, message="made up", now=_at(at))
        else:
            units.succeed_unit(session, claim, output=MADE)


def _claim(
    database: Database, at: float, *, kinds: tuple[UnitKind, ...], worker: str = "pool"
) -> Claim | None:
    with transaction(database) as session:
        return claims.claim_unit(session, worker=worker, lease_seconds=LEASE, kinds=kinds, now=_at(at))


def _left(database: Database, job_id: str) -> bool:
    with transaction(database) as session:
        left = select(func.count()).where(
            Unit.job_id == job_id, Unit.kind == UnitKind.generate, Unit.state != UnitState.succeeded
        )
        return bool(session.scalar(left))


def _at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)
