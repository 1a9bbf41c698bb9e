"""What the database side costs when there is much of everything: ``python -m bench.control``.

Two databases in one PostgreSQL, one with a hundred times the jobs, units and events of the other. Each
request is timed in both by turns, so that the ratio is of one run; and 32 claimers take units at once. Exits
1 when a ratio is larger than asked, a large table was read from end to end, or a unit was taken twice.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psycopg
import torch
from rich.console import Console
from rich.table import Table

from bench.claimers import Claimed, claim_together
from bench.filled import PROJECTS, Filled, fill
from bench.measure import compare
from bench.plans import long_reads
from core import measures
from core.db import Database, transaction
from core.models import UnitKind
from core.runs import claims, jobs, records, units, views
from core.runs.claims import Claim
from core.settings import Settings
from tests.services import postgres_server

SMALL, LARGE = 1_000, 100_000
CLAIMERS = 32
MOST = 1.5
LEAST_THROUGHPUT = 0.5
SFT = {"type": "sft", "sft": {"hyperparameters": {"steps": 4}}}
Request = Callable[[], object]


@dataclass(frozen=True)
class Row:
    """One request: milliseconds in each database, and the tables that were read from end to end."""

    what: str
    small: float
    large: float
    ratio: float
    asked: float | None
    long_reads: list[str]

    @property
    def holds(self) -> bool:
        """Whether it is as asked."""
        return self.asked is None or (self.ratio <= self.asked and not self.long_reads)


def main() -> int:
    """Fill, measure, print a table and JSON, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.control", description=__doc__)
    parser.add_argument("--jobs", type=int, default=LARGE, help="jobs in the larger database")
    parser.add_argument("--small", type=int, default=SMALL, help="jobs in the smaller one")
    parser.add_argument("--repeats", type=int, default=40, help="pairs of measurements")
    parser.add_argument("--claimers", type=int, default=CLAIMERS, help="processes that claim at once")
    parser.add_argument("--claims", type=int, default=20, help="claims of each")
    parser.add_argument("--json", type=Path, help="write the JSON here too")
    args = parser.parse_args()
    with postgres_server() as url, tempfile.TemporaryDirectory() as folder:
        made = [_database(url, Path(folder), number) for number in (args.small, args.jobs)]
        rows = list(measured(*made, repeats=args.repeats))
        apart, together = claim_together(
            url, Path(folder), claimers=args.claimers, each=args.claims, like=made[0].settings
        )
    report = {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "jobs": [each.jobs for each in made],
        "units": [each.units for each in made],
        "events": [each.events for each in made],
        "repeats": args.repeats,
        "measured": [asdict(row) for row in rows],
        "claimers": {"apart": asdict(apart), "together": asdict(together)},
        "throughput_kept": together.rate / apart.rate,
    }
    _show(rows, apart, together)
    print(json.dumps(report, indent=1))
    if args.json:
        args.json.write_text(json.dumps(report, indent=1) + "\n")
    kept = together.twice == 0 and together.rate >= LEAST_THROUGHPUT * apart.rate
    return 0 if kept and all(row.holds for row in rows) else 1


def _database(url: str, folder: Path, number: int) -> Filled:
    name, began = f"jobs_{number}", time.perf_counter()
    with psycopg.connect(url.format(database="postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    state = folder / name
    state.mkdir()
    filled = fill(Settings(state=state, database_url=url.format(database=name)), jobs=number)
    took = time.perf_counter() - began
    print(f"{filled.jobs} jobs, {filled.units} units, {filled.events} events in {took:.0f} s", flush=True)
    return filled


def measured(small: Filled, large: Filled, *, repeats: int) -> Iterator[Row]:
    """Time each request in both databases by turns."""
    with _requests(small) as few, _requests(large) as many:
        for what, (request, asked) in many.items():
            found = compare(request, few[what][0], repeats=repeats, device=torch.device("cpu"))
            reads = long_reads(request)
            told = f"{1000 * found.bare:.1f} ms, {1000 * found.ours:.1f} ms"
            print(f"{what}: {told}, ratio {found.ratio:.2f}", flush=True)
            yield Row(what, 1000 * found.bare, 1000 * found.ours, found.ratio, asked, reads)


@contextmanager
def _requests(filled: Filled) -> Iterator[dict[str, tuple[Request, float | None]]]:
    """Yield what is timed, and what ratio is asked of it."""
    database = Database(filled.settings)
    held = Claim(filled.open_unit, filled.open_job, None, UnitKind.train, 1, 0, 1, 1, 1, "bench")
    number = iter(range(10**9))
    project = iter(range(10**9))

    def in_transaction(work: Callable[[Any], object]) -> Request:
        def run() -> object:
            with transaction(database) as session:
                return work(session)

        return run

    def submit(session: Any) -> object:
        name = next(project) % PROJECTS
        job = jobs.create_job(
            session, project_id=f"proj-{name}", model="base", training_file=f"ds-{name}", method=SFT, seed=7
        )
        return views.describe_jobs(session, [job])

    def claim_and_give_back() -> None:
        with transaction(database) as session:
            claim = claims.claim_unit(session, worker="bench", lease_seconds=3600)
        assert claim is not None
        with transaction(database) as session:
            units.release_unit(session, claim)

    def append(session: Any) -> None:
        step = next(number)
        records.record_events(
            session,
            held,
            [{"type": "metrics", "iteration": 1, "step": 1000 + step, "values": {"loss": 0.5}}],
        )

    def tail(session: Any) -> None:
        assert not views.has_ended(session, job_id=filled.open_job)
        assert views.events_after(session, job_id=filled.open_job, seq=45, limit=200)

    try:
        yield {
            "submit": (in_transaction(submit), MOST),
            "claim, and give back": (claim_and_give_back, MOST),
            "list, first page": (in_transaction(page(None)), MOST),
            "list, page in the middle": (in_transaction(page(filled.middle_job)), MOST),
            "event append": (in_transaction(append), MOST),
            "SSE tail": (in_transaction(tail), MOST),
            "renew": (in_transaction(lambda session: claims.renew(session, held, lease_seconds=60)), None),
            "scrape of /metrics": (in_transaction(measures.gauges), None),
        }
    finally:
        database.dispose()


def page(after: str | None) -> Callable[[Any], object]:
    """Return the reading of a page of twenty jobs, as the API shows it."""

    def read(session: Any) -> object:
        found = jobs.list_jobs(session, project_id="proj-0", limit=20, after=after)
        assert len(found.items) == 20
        return views.describe_jobs(session, found.items)

    return read


def _show(rows: list[Row], apart: Claimed, together: Claimed) -> None:
    table = Table(title="Milliseconds, medians of interleaved repeats")
    for name in ("request", "small", "large", "ratio", "asked", "read from end to end"):
        table.add_column(name, justify="left" if name in ("request", "read from end to end") else "right")
    for row in rows:
        asked = "" if row.asked is None else f"<= {row.asked}"
        numbers = (f"{row.small:.2f}", f"{row.large:.2f}", f"{row.ratio:.2f}")
        table.add_row(row.what, *numbers, asked, ", ".join(row.long_reads) or "none")
    Console(width=110).print(table)
    print(
        f"{together.claimers} claimers: {apart.rate:.0f} claims/s with a database each, "
        f"{together.rate:.0f}/s in one ({together.rate / apart.rate:.2f}, asked >= {LEAST_THROUGHPUT}); "
        f"{together.taken} units taken, {together.twice} twice, {together.gave_up} claims timed out"
    )


if __name__ == "__main__":
    sys.exit(main())
