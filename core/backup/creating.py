"""A backup is made: the database as it is at one moment, then every object that it tells of.

The platform goes on meanwhile. Objects never change, so only what is deleted between the snapshot and the
copy could be missing: then the rows that told of it are gone too, and a new snapshot, of which nearly all is
copied already, settles it. What is missing still is lost in the store itself, and told.
"""

import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from core import schema
from core.backup import lines, tables
from core.backup.copying import Copied, insist, to_backup
from core.backup.ledger import Ledger
from core.backup.objects import Told, is_kept, told_of
from core.backup.place import LIST, OBJECTS, Lines, Manifest, Table, ids, new_id, private, table_key
from core.backup.secrecy import without_secrets
from core.clock import utcnow
from core.db import Database
from core.settings import Settings
from core.storage.store import ObjectStore, store_for

PASSES = 4
PAUSE_SECONDS = 2.0  # deletions delete objects and rows in two steps


@dataclass(frozen=True)
class Made:
    """A backup, and what of its objects had to be copied for it."""

    manifest: Manifest
    copied: int
    copied_bytes: int
    passes: int


@dataclass(frozen=True)
class _Snapshot:
    moment: datetime
    revision: str
    dialect: str
    tables: tuple[Table, ...]


def create(
    settings: Settings,
    place: ObjectStore,
    *,
    secrets: bool = True,
    pause: Callable[[], None] = lambda: time.sleep(PAUSE_SECONDS),
) -> Made:
    """Make a backup of a platform that may run; what the place has already is not copied again.

    Args:
        settings: the platform's.
        place: where it goes.
        secrets: with the digests of keys, and the secrets of webhooks.
        pause: what is done before another snapshot is taken.

    Raises:
        ValueError: the database is of another version than this code.
    """
    store, database = store_for(settings), Database(settings)
    with private(), tempfile.TemporaryDirectory(prefix="spindle-backup-") as name:
        folder = Path(name)
        try:
            place.prepare()
            with Ledger(folder / "ledger") as ledger:
                ledger.hold(key.rpartition("/")[2] for key in place.list(f"{OBJECTS}/"))
                found, copied, passes = _until_whole(database, store, place, ledger, folder, secrets, pause)
                return _finish(place, ledger, folder, found, copied, passes, secrets=secrets)
        finally:
            database.dispose()


def _until_whole(
    database: Database,
    store: ObjectStore,
    place: ObjectStore,
    ledger: Ledger,
    folder: Path,
    secrets: bool,
    pause: Callable[[], None],
) -> tuple[_Snapshot, Copied, int]:
    """Take snapshots and copy what they tell of until nothing is missing, or it is missing for good."""
    copied = size = 0
    for passes in range(1, PASSES + 1):
        found = _look(database, ledger, folder, secrets=secrets)
        _learn(place, ledger)
        ledger.skip_held()
        now = to_backup(store, place, ledger)
        copied, size = copied + now.objects, size + now.bytes
        if not now.lost:
            break
        if passes < PASSES:
            pause()
    return found, Copied(copied, size, now.lost), passes


def _look(database: Database, ledger: Ledger, folder: Path, *, secrets: bool) -> _Snapshot:
    """Write the rows of one moment to files, and the objects that they tell of to the ledger."""
    ledger.begin()

    def each(table: str, row: tables.Row) -> tables.Row | None:
        if not is_kept(table, row):
            return None
        for told in told_of(table, row):
            ledger.add(told)
        return row if secrets else without_secrets(table, row)

    with tables.snapshot(database) as connection:
        moment = utcnow()
        revision = schema.current(connection)
        if revision is None or revision != schema.newest():
            raise ValueError(
                f"the database is at revision {revision} and this version of Spindle at {schema.newest()}: "
                "back up with the version that runs, or run `python -m core.migrate` first"
            )
        written = tuple(
            tables.dump(connection, table, folder / f"{table.name}.jsonl.gz", each=each)
            for table in tables.kept_tables()
        )
        return _Snapshot(moment, revision, connection.dialect.name, written)


def _learn(place: ObjectStore, ledger: Ledger) -> None:
    """Take from the last backup what it found out of objects of which rows tell no digest."""
    whole, _ = ids(place)
    for backup_id in whole[-1:]:
        with suppress(ValueError):  # it is damaged: `verify` tells, and here these objects are read again
            before = Manifest.read(place, backup_id)
            rows = lines.read(place, before.key(LIST), before.objects)
            ledger.learn(Told(row["key"], row["sha256"], row["size"]) for row in rows)


def _finish(
    place: ObjectStore,
    ledger: Ledger,
    folder: Path,
    found: _Snapshot,
    copied: Copied,
    passes: int,
    *,
    secrets: bool,
) -> Made:
    """Write tables, the list of objects, and the manifest last: from then on it is a backup."""
    with lines.Writer(folder / LIST) as writer:
        for told in ledger.all():
            writer.write({"key": told.key, "sha256": told.sha256, "size": told.size})
    listed: Lines = writer.lines
    manifest = Manifest(
        id=new_id(found.moment),
        created_at=found.moment.isoformat(),
        revision=found.revision,
        database=found.dialect,
        tables=found.tables,
        objects=listed,
        bytes=ledger.totals().bytes,
        lost=copied.lost,
        secrets=secrets,
    )
    for table in found.tables:
        path = folder / f"{table.name}.jsonl.gz"
        insist(lambda path=path, name=table.name: place.put_file(manifest.key(table_key(name)), path))  # type: ignore[misc]
    insist(lambda: place.put_file(manifest.key(LIST), folder / LIST))
    manifest.write(place)
    return Made(manifest, copied.objects, copied.bytes, passes)
