"""The tables' versions: to which the database has come, and to which it should."""

from functools import lru_cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from core.db import Database

MIGRATIONS = Path(__file__).resolve().parents[1] / "migrations"
POSTGRES_LOCK = 0x5350494E  # any number of our own: migrations that start together go one after the other


def configuration(connection: Connection | None = None) -> Config:
    """Return Alembic's configuration, to work on a connection that is open."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    return config


@lru_cache(maxsize=1)
def newest() -> str:
    """Return the newest revision there is."""
    head = ScriptDirectory.from_config(configuration()).get_current_head()
    assert head is not None, f"there are no migrations in {MIGRATIONS}"
    return head


def knows(revision: str) -> bool:
    """Tell whether this version of Spindle knows a revision."""
    return revision in {
        each.revision for each in ScriptDirectory.from_config(configuration()).walk_revisions()
    }


def current(connection: Connection) -> str | None:
    """Return the revision that the database has."""
    return MigrationContext.configure(connection).get_current_revision()


def take_turns(connection: Connection) -> None:
    """Let who prepares a database at the same moment wait for the end of this transaction.

    SQLite has one writer at a time anyhow.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SELECT pg_advisory_xact_lock({POSTGRES_LOCK})"))


def move(database: Database, revision: str = "head") -> None:
    """Bring the database up or down to a revision, in one transaction; ValueError when it is too new."""
    with database.engine.begin() as connection:
        take_turns(connection)
        script = ScriptDirectory.from_config(configuration())
        here = current(connection)
        known = {each.revision for each in script.walk_revisions()}
        if here is not None and here not in known:
            raise ValueError(
                f"the database is at revision {here}, which this version of Spindle does not know"
            )
        order = [each.revision for each in script.walk_revisions()][::-1]
        target = newest() if revision == "head" else revision
        down = here is not None and (target == "base" or order.index(target) < order.index(here))
        (command.downgrade if down else command.upgrade)(configuration(connection), revision)
