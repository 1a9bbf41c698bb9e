"""The pool's bench counts what it says: small, on SQLite. Its real workers are those of tests/worker."""

import json
from collections.abc import Iterator
from dataclasses import asdict

import pytest

from bench.pool import Fates, open_pool, race, ready_dataset, ready_job, share
from core.db import Database
from core.settings import Settings

UNITS = 16


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return open_pool(tmp_path_factory.mktemp("pool"), "", shards=UNITS)


@pytest.fixture(scope="module")
def database(settings: Settings) -> Iterator[Database]:
    opened = Database(settings)
    yield opened
    opened.dispose()


@pytest.fixture(scope="module")
def dataset_id(database: Database, settings: Settings) -> str:
    return ready_dataset(database, settings, rows=UNITS)


def test_a_pool_shares_a_job_and_takes_up_what_is_lost(database: Database, dataset_id: str) -> None:
    fates = Fates(seconds=10.0, failing=0.1, dying=0.1, seed=1)
    one, four = (
        share(database, ready_job(database, dataset_id), claimers=claimers, fates=fates)
        for claimers in (1, 4)
    )
    assert one.attempts == four.attempts  # whoever claims it, a unit fares the same
    assert four.attempts["succeeds"] == UNITS
    assert min(four.attempts["fails"], four.attempts["dies"]) > 0
    assert one.busy == pytest.approx(four.busy)
    assert one.seconds > one.busy  # a lease for each death, and what the statements took
    assert 0.2 < four.efficiency < 1


def test_nothing_is_lost_by_a_pool_without_accidents(database: Database, dataset_id: str) -> None:
    found = share(
        database, ready_job(database, dataset_id), claimers=1, fates=Fates(failing=0, dying=0, seconds=1000.0)
    )
    assert json.loads(json.dumps(asdict(found)))["attempts"] == {"succeeds": UNITS}
    assert found.efficiency == pytest.approx(1, abs=0.01)


def test_claimers_that_race_never_hold_the_same_unit(
    database: Database, settings: Settings, dataset_id: str
) -> None:
    ready_job(database, dataset_id)
    found = race(settings, claimers=4)
    assert (found.units, found.doubled) == (UNITS, 0)
    assert found.per_second > 0
