"""The database side's benchmark counts right, on a small scale: ratios, plans, claims that do not meet."""

from pathlib import Path

from sqlalchemy import text

from bench.claimers import claim_together
from bench.control import measured
from bench.filled import fill
from bench.plans import long_reads
from core.db import Database
from core.settings import Settings
from tests.databases import create_database


def test_every_request_is_timed_in_both_and_claimers_never_meet(postgres_url: str, tmp_path: Path) -> None:
    made = []
    for name, number in (("bench_small", 40), ("bench_large", 80)):
        create_database(postgres_url, name, template="template1")
        settings = Settings(state=tmp_path / name, database_url=postgres_url.format(database=name))
        settings.state.mkdir()
        filled = fill(settings, jobs=number * 20, events_of_job=50)
        assert (filled.jobs, filled.units, filled.events) == (number * 20, number * 200, number * 1000)
        made.append(filled)
    rows = {row.what: row for row in measured(*made, repeats=1)}
    assert {what for what, row in rows.items() if row.asked is not None} == {
        "submit",
        "claim, and give back",
        "list, first page",
        "list, page in the middle",
        "event append",
        "SSE tail",
    }
    assert min(row.ratio for row in rows.values()) > 0
    apart, together = claim_together(postgres_url, tmp_path, claimers=3, each=3, like=made[0].settings)
    assert (apart.taken, together.taken, together.twice) == (12, 12, 0)
    assert min(apart.rate, together.rate) > 0

    database = Database(made[1].settings)

    def reads_all() -> None:
        with database.engine.begin() as connection:
            connection.execute(text("SELECT count(message) FROM event"))

    assert long_reads(reads_all) == ["event"]
    database.dispose()
