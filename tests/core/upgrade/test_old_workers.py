"""While a new version is rolled out, processes of the one before go on, on tables that are migrated already.

What they send was recorded from their own code (``python -m tests.core.upgrade``): the life of a unit from
claim to end in every way, drawings, the beat's duties, and what the api does with jobs. It is sent again
here, as it was: the first part on the tables of its day, the rest on the newest.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from core import schema
from core.db import Database
from core.settings import Settings
from tests.core.upgrade.recording import MIGRATE, Differs, Step, read, replay
from tests.databases import create_database, drop_database

PREVIOUS = "0013"
"""The revision of the last release: its processes may run while this version is rolled out."""


@pytest.fixture(params=["sqlite", "postgresql"])
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database whose tables are of the last release."""
    settings = Settings(state=tmp_path)
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_url")
        create_database(url, "old_tables", template="template1")
        settings = Settings(state=tmp_path, database_url=url.format(database="old_tables"))
    database = Database(settings)
    schema.move(database, PREVIOUS)
    yield database
    database.dispose()
    if request.param == "postgresql":
        drop_database(url, "old_tables")


def test_processes_of_the_last_release_work_on_the_newest_tables(old: Database) -> None:
    steps = read(PREVIOUS, old.engine.dialect.name)
    done = replay(old.engine, steps, migrate=lambda: schema.move(old))
    assert len(done) == len(steps)
    assert [step.sql for step in steps].count(MIGRATE) == 1
    with old.engine.connect() as connection:
        assert schema.current(connection) == schema.newest()
        states = "SELECT state, count(*) FROM job GROUP BY state ORDER BY state"
        found = [tuple(row) for row in connection.execute(text(states))]
        assert found == [("cancelled", 1), ("succeeded", 1)]
        [models] = connection.execute(text("SELECT count(*) FROM model WHERE kind = 'result'")).one()
        assert models == 1


@pytest.mark.parametrize("old", ["sqlite"], indirect=True)
def test_a_column_that_is_gone_is_noticed(old: Database) -> None:
    steps = read(PREVIOUS, old.engine.dialect.name)
    middle = next(place for place, step in enumerate(steps) if step.sql == MIGRATE)
    replay(old.engine, steps[:middle], migrate=lambda: None)
    with old.engine.begin() as connection:
        connection.execute(text("ALTER TABLE unit RENAME COLUMN yield_to TO yields_to"))
    with pytest.raises(Differs, match="yield_to"):
        replay(old.engine, steps[middle + 1 :], migrate=lambda: None)


@pytest.mark.parametrize("old", ["sqlite"], indirect=True)
def test_a_statement_that_finds_other_rows_is_noticed(old: Database) -> None:
    expected = Step("SELECT id FROM project", None, 1)
    with pytest.raises(Differs, match="has 0 rows, not 1"):
        replay(old.engine, [expected], migrate=lambda: None)
