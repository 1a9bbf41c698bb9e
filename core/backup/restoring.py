"""A backup becomes a platform again, of either profile, where there is none."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

from sqlalchemy import Connection, inspect, select, text

from core import base_models, schema
from core.backup import lines, tables
from core.backup.afterwards import Afterwards
from core.backup.copying import HANDS, insist
from core.backup.ledger import AT_ONCE
from core.backup.objects import Told
from core.backup.place import Manifest, Table, object_key, table_key
from core.backup.verifying import check_tables, listed
from core.base_models import BaseModel
from core.clock import utcnow
from core.db import Database, transaction
from core.migrate import migrate
from core.models import JOB_ENDED, Job, ModelKind
from core.queue import check_broker
from core.runs.lifecycle import lock, settle
from core.settings import Settings
from core.storage.store import ObjectStore, store_for

FOLDER = "folder:"
NAMED = 5


@dataclass(frozen=True)
class Restored:
    """What was restored, and what whoever runs the platform should know."""

    manifest: Manifest
    objects: int
    rows: int
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class _BaseModels:
    """The sources of base models, then and now; those that are not here; those that are others here."""

    folders: dict[str, str]
    missing: tuple[str, ...]
    changed: tuple[str, ...]


def restore(
    settings: Settings,
    place: ObjectStore,
    manifest: Manifest,
    *,
    webhooks: bool = True,
    incomplete: bool = False,
) -> Restored:
    """Restore into a database and a store that are empty, or hold what a restore of this backup began.

    Objects come first, rows in one transaction: an interrupted restore may be run again. At the end the
    tables are brought to this version.

    Args:
        settings: of the new platform.
        place: where the backup lies.
        manifest: which one it is.
        webhooks: endpoints stay enabled; a rehearsal should not tell them.
        incomplete: also when objects or base models are missing.

    Raises:
        ValueError: it may not or cannot be restored; nothing that was there has changed.
    """
    if not schema.knows(manifest.revision):
        raise ValueError(
            f"backup {manifest.id} is of revision {manifest.revision}, which this version of Spindle does "
            "not know: restore it with the version that made it, or a newer one"
        )
    check_broker(settings)
    store, database = store_for(settings), Database(settings)
    try:
        for problem in check_tables(place, manifest):
            raise ValueError(f"{problem}; use another backup")
        found = _base_models(place, manifest, base_models.base_models(settings))
        if not incomplete:
            _check_whole(manifest, found)
        _check_empty(database, store, place, manifest)
        store.prepare()
        objects = _objects(store, place, manifest)
        schema.move(database, manifest.revision)
        told = f"backup {manifest.id}"
        after = Afterwards(told, utcnow(), found.folders, webhooks=webhooks)
        with database.engine.begin() as connection:
            tables.be_patient(connection)
            rows = sum(_rows(connection, place, manifest, table, after) for table in manifest.tables)
            for project_id, size in sorted(after.freed.items()):
                held = text("UPDATE project SET stored_bytes = stored_bytes - :size WHERE id = :id")
                connection.execute(held, {"size": size, "id": project_id})
        migrate(settings)
        _settle_wishes(database)
    finally:
        database.dispose()
    changed = (
        f"base model {name} is another one here than it was: jobs that go on with it, and pictures, differ"
        for name in found.changed
    )
    gone = (f"base model {name} is not here: add its folder and run core.migrate" for name in found.missing)
    lost = (f"{key} is missing: it was when the backup was made" for key in manifest.lost)
    return Restored(manifest, objects, rows, (*changed, *gone, *lost))


def _check_whole(manifest: Manifest, found: _BaseModels) -> None:
    if found.missing:
        raise ValueError(
            f"base models are missing here: {', '.join(found.missing)}; put their folders below "
            "SPINDLE_BASE_MODELS, or restore with --incomplete"
        )
    if manifest.lost:
        some = ", ".join(manifest.lost[:NAMED])
        raise ValueError(
            f"{len(manifest.lost)} objects were missing when the backup was made: {some}; use an older "
            "backup, or restore with --incomplete"
        )


def _check_empty(database: Database, store: ObjectStore, place: ObjectStore, manifest: Manifest) -> None:
    """Refuse a platform that is there; what a restore of this backup left half done is none."""
    with database.engine.connect() as connection:
        here = schema.current(connection)
        there = sorted(set(inspect(connection).get_table_names()) - {"alembic_version"})
        full = [name for name in there if _has_rows(connection, name)]
    if full or here not in (None, manifest.revision):
        raise ValueError(
            f"the database is not empty (revision {here}, rows in {', '.join(full[:NAMED]) or 'none'}): "
            "restore into a new one"
        )
    strange = next(_strange(store, place, manifest), None)
    if strange is not None:
        raise ValueError(f"the store is not empty: it has {strange}; restore into a new bucket or folder")


def _has_rows(connection: Connection, name: str) -> bool:
    return connection.execute(select(text("1")).select_from(tables.named(name)).limit(1)).first() is not None


def _strange(store: ObjectStore, place: ObjectStore, manifest: Manifest) -> Iterator[str]:
    """Yield keys of the store that are not the backup's; both lists are in order."""
    try:
        keys = store.list("")
        first = next(keys, None)
    except PermissionError:  # there is no bucket yet
        return
    if first is None:
        return
    expected = listed(place, manifest)
    known = next(expected, None)
    for key in (first, *keys):
        while known is not None and known.key < key:
            known = next(expected, None)
        if known is None or known.key != key:
            yield key


def _base_models(place: ObjectStore, manifest: Manifest, here: list[BaseModel]) -> _BaseModels:
    """Find this platform's base models for those that the backup tells of."""
    now = {one.name: one for one in here}
    folders: dict[str, str] = {}
    missing, changed = [], []
    [models] = [table for table in manifest.tables if table.name == "model"]
    for row in lines.read(place, manifest.key(table_key("model")), models.lines):
        if row["kind"] != ModelKind.base:
            continue
        if row["id"] in now:
            folders[row["source"]] = f"{FOLDER}{now[row['id']].folder}"
            if row["digest"] != now[row["id"]].digest:
                changed.append(row["id"])
        elif row["deleted_at"] is None:
            missing.append(row["id"])
    return _BaseModels(folders, tuple(sorted(missing)), tuple(sorted(changed)))


def _objects(store: ObjectStore, place: ObjectStore, manifest: Manifest) -> int:
    """Copy all objects that are not there yet; return how many there are."""

    def copy(told: Told) -> None:
        insist(lambda: _put(store, place, told))

    count, objects = 0, listed(place, manifest)
    with ThreadPoolExecutor(HANDS) as hands:
        while batch := list(islice(objects, AT_ONCE)):
            count += len(list(hands.map(copy, batch)))
    return count


def _put(store: ObjectStore, place: ObjectStore, told: Told) -> None:
    assert told.sha256 is not None
    there = store.stat(told.key)
    if there is not None and there.size == told.size:
        return  # objects appear whole: an interrupted restore put it
    try:
        with place.open(object_key(told.sha256)) as stream:
            store.put(told.key, stream, told.size, sha256=told.sha256)
    except (FileNotFoundError, ValueError) as error:
        raise ValueError(f"{told.key} is missing or damaged in the backup; use another one") from error


def _rows(
    connection: Connection, place: ObjectStore, manifest: Manifest, table: Table, after: Afterwards
) -> int:
    read = lines.read(place, manifest.key(table_key(table.name)), table.lines)
    rows = after.rows(table.name, (tables.with_moments(table, row) for row in read))
    return tables.load(connection, table, rows)


def _settle_wishes(database: Database) -> None:
    """Let jobs be paused and cancelled whose running units were to see to that."""
    with transaction(database) as session:
        asked = Job.pause_requested | Job.cancel_requested
        wanted = select(Job.id).where(asked, Job.state.not_in(JOB_ENDED)).order_by(Job.id)
        for job_id in session.scalars(wanted).all():
            settle(session, lock(session, job_id))
