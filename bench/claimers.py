"""Many processes that claim at once: from one database, and for comparison each from one of its own."""

import multiprocessing
import time
from collections import Counter
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from pathlib import Path

import psycopg
from sqlalchemy.exc import OperationalError

from bench.filled import fill
from core.db import Database, transaction
from core.runs import claims
from core.settings import Settings

GRACE = 300.0


@dataclass(frozen=True)
class Claimed:
    """What so many claimers took.

    Attributes:
        claimers: how many there were.
        taken: units that they took, with the first of each, which is not timed.
        twice: units that more than one of them took.
        gave_up: claims that waited for another's lock until the time-out.
        rate: units in a second, all together.
    """

    claimers: int
    taken: int
    twice: int
    gave_up: int
    rate: float


def claim_together(
    url: str, folder: Path, *, claimers: int, each: int, like: Settings
) -> tuple[Claimed, Claimed]:
    """Let processes claim ``each`` units: first each from a database of its own, then all from one.

    The first is what this machine can do without any two of them meeting; so the second, divided by it, is
    what is left under contention, whatever the number of cores.
    """
    template = _copy(url, "claims", None)
    settings = Settings(state=like.state, database_url=url.format(database=template))
    # Twice as many wait as are taken: too few would have the last claimers meet at the last units.
    fill(settings, jobs=max(100, 4 * claimers * each), backlog=0.5, events_of_job=1)
    copies = [_copy(url, f"claims_{number}", template) for number in range(claimers)]
    apart = _claim([url.format(database=name) for name in copies], folder, each=each)
    together = _claim([url.format(database=template)] * claimers, folder, each=each)
    return apart, together


def _copy(url: str, name: str, template: str | None) -> str:
    with psycopg.connect(url.format(database="postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}" + (f" TEMPLATE {template}" if template else ""))
    return name


def _claim(urls: list[str], folder: Path, *, each: int) -> Claimed:
    fork = multiprocessing.get_context("fork")
    barrier: Barrier = fork.Barrier(len(urls) + 1)
    results = fork.SimpleQueue()

    def run(number: int, url: str) -> None:
        database = Database(Settings(state=folder, database_url=url))
        taken, gave_up = [], 0

        def claim() -> None:
            nonlocal gave_up
            try:
                with transaction(database) as session:
                    found = claims.claim_unit(session, worker=f"bench-{number}", lease_seconds=3600)
            except OperationalError:  # it waited for a row longer than the platform lets it; it tries again
                gave_up += 1
                return
            if found is not None:
                taken.append(found.unit_id)

        claim()  # connected, and its statements compiled
        barrier.wait(GRACE)
        for _ in range(each):
            claim()
        results.put((taken, gave_up, time.monotonic()))
        database.dispose()

    processes = [fork.Process(target=run, args=(number, url)) for number, url in enumerate(urls)]
    for process in processes:
        process.start()
    barrier.wait(GRACE)
    began = time.monotonic()
    ended = [results.get() for _ in processes]
    for process in processes:
        process.join()
    # In one database a unit has one id; in copies the same ids are others' units.
    shared = len(set(urls)) == 1
    taken = Counter(unit for units, _, _ in ended for unit in units)
    seconds = max(at for _, _, at in ended) - began
    return Claimed(
        claimers=len(urls),
        taken=taken.total(),
        twice=sum(number > 1 for number in taken.values()) if shared else 0,
        gave_up=sum(number for _, number, _ in ended),
        rate=(taken.total() - len(urls)) / seconds,
    )
