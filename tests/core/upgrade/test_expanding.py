"""A migration of this version only adds: processes of the last release run beside it (docs/upgrading.md).

To take something away, wait until the release before no longer uses it, and say so in the migration:
``CONTRACTS = "since 0.2 nothing reads unit.old"``.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.script import Script, ScriptDirectory
from sqlalchemy import event

from core import schema
from core.db import Database
from core.settings import Settings
from tests.core.upgrade.expanding import taken
from tests.databases import create_database, drop_database

MARKER = "CONTRACTS"


@pytest.fixture
def tables(postgres_url: str, tmp_path: Path) -> Iterator[Database]:
    """A PostgreSQL database without tables."""
    create_database(postgres_url, "expanding", template="template1")
    database = Database(Settings(state=tmp_path, database_url=postgres_url.format(database="expanding")))
    yield database
    database.dispose()
    drop_database(postgres_url, "expanding")


def in_order() -> list[Script]:
    return list(ScriptDirectory.from_config(schema.configuration()).walk_revisions())[::-1]


def test_migrations_only_expand(tables: Database) -> None:
    """Each is run on PostgreSQL, one after the other, and what it really sends is looked at."""
    sent: list[str] = []
    event.listen(tables.engine, "before_cursor_execute", lambda *told: sent.append(told[2]))
    found: dict[str, list[str]] = {}
    looked_at = 0
    for script in in_order():
        sent.clear()
        schema.move(tables, script.revision)
        looked_at += len(sent)
        if not getattr(script.module, MARKER, ""):
            found[script.revision] = taken(sent)
    assert looked_at > 100
    assert {revision: told for revision, told in found.items() if told} == {}


@pytest.mark.parametrize(
    ("statements", "told"),
    [
        (["ALTER TABLE unit DROP COLUMN avoid"], ["drops column unit.avoid"]),
        (["DROP TABLE tally"], ["drops table tally"]),
        (["ALTER TABLE unit RENAME avoid TO avoids"], ["renames column unit.avoid"]),
        (["ALTER TABLE unit RENAME TO work"], ["renames table unit"]),
        (["ALTER TABLE job ALTER COLUMN suffix SET NOT NULL"], ["wants a value in job.suffix"]),
        (["ALTER TABLE job ALTER COLUMN seed TYPE BIGINT"], ["changes the type of job.seed"]),
        (["ALTER TABLE unit ADD COLUMN x INTEGER NOT NULL"], ["wants a value in the new column unit.x"]),
        (["CREATE UNIQUE INDEX uq_x ON unit (worker)"], ["wants unit to be unique by uq_x"]),
        (["ALTER TABLE unit ADD CONSTRAINT ck_x CHECK (shard < 9)"], ["wants more of unit by ck_x"]),
        (["ALTER TABLE unit ADD COLUMN x INTEGER DEFAULT 0 NOT NULL"], []),
        (["ALTER TABLE unit ADD COLUMN x VARCHAR"], []),
        (["CREATE TABLE place (id VARCHAR NOT NULL)", "CREATE UNIQUE INDEX uq_p ON place (id)"], []),
        (
            [
                "ALTER TABLE unit DROP CONSTRAINT ck_unit_unit_kind",
                "ALTER TABLE unit ADD CONSTRAINT ck_unit_unit_kind CHECK (kind IN ('a', 'b'))",
            ],
            [],
        ),
        (
            ["CREATE INDEX ix_x ON unit (worker)", "DROP INDEX ix_unit_worker", "UPDATE unit SET shard = 0"],
            [],
        ),
    ],
)
def test_what_a_statement_takes_away(statements: list[str], told: list[str]) -> None:
    assert taken(statements) == told


def test_the_marker_of_a_contraction_says_why() -> None:
    for script in in_order():
        why = getattr(script.module, MARKER, None)
        assert why is None or (isinstance(why, str) and "since" in why), script.revision
