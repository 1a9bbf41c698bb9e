"""``python -m tests.core.upgrade``: record what this version's processes send, for the next one to hold.

Run it when a version is released, and name its revision in test_old_workers.PREVIOUS. It starts a PostgreSQL.
"""

import sys
import tempfile
from pathlib import Path

from core import schema
from core.db import Database
from core.settings import Settings
from tests.core.upgrade.life import after_the_migration, before_the_migration
from tests.core.upgrade.recording import Step, recorded, replay, write
from tests.databases import create_database
from tests.services import postgres_server


def main() -> int:
    """Record on both databases, send all of it again to count rows, and write the file."""
    with tempfile.TemporaryDirectory() as folder, postgres_server() as url:
        for name in ("lived", "replayed"):
            create_database(url, name, template="template1")
        pairs = {
            "sqlite": [Settings(state=Path(folder) / name) for name in ("lived", "replayed")],
            "postgresql": [
                Settings(state=Path(folder) / f"pg-{name}", database_url=url.format(database=name))
                for name in ("lived", "replayed")
            ],
        }
        found = {name: lived_and_counted(*pair) for name, pair in pairs.items()}
    path = write(schema.newest(), found)
    sys.stdout.write(
        f"{path}: {', '.join(f'{len(steps)} steps on {name}' for name, steps in found.items())}\n"
    )
    return 0


def lived_and_counted(first: Settings, second: Settings) -> list[Step]:
    """Record a life in one database, and count its rows in another."""
    database = Database(first)
    schema.move(database)
    with recorded(database.engine) as recording:
        job_id, claim = before_the_migration(database)
        recording.mark_migration()
        after_the_migration(database, first, job_id, claim)
    database.dispose()
    other = Database(second)
    schema.move(other)
    counted = replay(other.engine, recording.steps, migrate=lambda: None)
    other.dispose()
    return counted


if __name__ == "__main__":
    sys.exit(main())
