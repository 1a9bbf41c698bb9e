"""``python -m bench fanout``: whether N workers take near 1/N of the time that one takes."""

import argparse
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.crew import Crew, measure
from bench.pool import Fates, Raced, Shared, open_pool, race, ready_dataset, ready_job, share
from core.db import Database
from tests.services import postgres_server


def main(arguments: Sequence[str]) -> None:
    """Measure real workers and a simulated pool; print a table, then JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench fanout", description=__doc__)
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2], help="real workers")
    parser.add_argument("--rows", type=int, default=64, help="pictures that real workers draw rivals for")
    parser.add_argument("--rival-steps", type=int, default=50, help="sampler steps of a rival")
    parser.add_argument("--claimers", type=int, nargs="*", default=[1, 2, 8, 64], help="of simulated pools")
    parser.add_argument("--units", type=int, default=256, help="that a pool shares")
    parser.add_argument("--unit-seconds", type=float, default=20.0, help="a made-up unit's mean duration")
    parser.add_argument("--sqlite", action="store_true", help="simulate on SQLite, not PostgreSQL")
    parser.add_argument("--json", type=Path, help="write the JSON here too")
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as work:
        crews = [
            measure(Path(work) / f"{workers}", workers=workers, rows=args.rows, rival_steps=args.rival_steps)
            for workers in args.workers
        ]
        with _database(Path(work), sqlite=args.sqlite) as url:
            pools, raced = simulate(Path(work) / "pool", url, args)
    report = {
        "machine": {"cores": os.cpu_count(), "load": os.getloadavg()[0]},
        "database": "sqlite" if args.sqlite else "postgresql",
        "workers": [asdict(crew) | {"ratio": crew.seconds / crews[0].seconds} for crew in crews],
        "pools": [asdict(pool) | {"efficiency": pool.efficiency} for pool in pools],
        "race": asdict(raced),
    }
    _show(crews, pools, raced)
    print(json.dumps(report, indent=1))
    if args.json:
        args.json.write_text(json.dumps(report, indent=1) + "\n")


def simulate(folder: Path, url: str, args: argparse.Namespace) -> tuple[list[Shared], Raced]:
    """Let each pool do a job of its own, and the largest one race for another."""
    settings = open_pool(folder, url, shards=args.units)
    database = Database(settings)
    try:
        dataset_id = ready_dataset(database, settings, rows=args.units)
        fates = Fates(seconds=args.unit_seconds)
        pools = [
            share(database, ready_job(database, dataset_id), claimers=claimers, fates=fates)
            for claimers in args.claimers
        ]
        ready_job(database, dataset_id)
        return pools, race(settings, claimers=max(args.claimers))
    finally:
        database.dispose()


@contextmanager
def _database(work: Path, *, sqlite: bool) -> Iterator[str]:
    if sqlite:
        yield f"sqlite:///{work}/pool.db"
        return
    with postgres_server() as url:
        yield url.format(database="postgres")


def _show(crews: list[Crew], pools: list[Shared], raced: Raced) -> None:
    table = Table(title="Wall time of the same units by N workers, against one")
    for name in ("what", "N", "seconds", "of one's", "1/N", "efficiency", "attempts"):
        table.add_column(name, justify="left" if name in ("what", "attempts") else "right")
    for crew in crews:
        table.add_row("real workers", *_row(crew.workers, crew.seconds, crews[0].seconds), "", "")
    for pool in pools:
        told = ", ".join(f"{number} {end}" for end, number in sorted(pool.attempts.items()))
        table.add_row(
            "simulated pool",
            *_row(pool.claimers, pool.seconds, pools[0].seconds),
            f"{pool.efficiency:.3f}",
            told,
        )
    console = Console(width=110)
    console.print(table)
    console.print(
        f"{raced.claimers} claimers at once: {raced.units} units, {raced.doubled} held or done twice, "
        f"{raced.per_second:.0f} claimed and finished a second"
    )


def _row(workers: int, seconds: float, one: float) -> tuple[str, str, str, str]:
    return f"{workers}", f"{seconds:.1f}", f"{seconds / one:.3f}", f"{1 / workers:.3f}"
