"""A backup is held against its own digests, to the last byte."""

import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from core.backup import lines
from core.backup.copying import HANDS, insist, measured
from core.backup.ledger import AT_ONCE, Ledger
from core.backup.objects import Told
from core.backup.place import LIST, Manifest, object_key, table_key
from core.storage.store import ObjectStore


def listed(place: ObjectStore, manifest: Manifest) -> Iterator[Told]:
    """Yield the objects of a backup, by key; ValueError when the list is damaged."""
    for row in lines.read(place, manifest.key(LIST), manifest.objects):
        yield Told(row["key"], row["sha256"], row["size"])


def check_tables(place: ObjectStore, manifest: Manifest) -> Iterator[str]:
    """Yield what is wrong with the rows of a backup."""
    for table in manifest.tables:
        try:
            for _ in lines.read(place, manifest.key(table_key(table.name)), table.lines):
                pass
        except ValueError as error:
            yield str(error)


def problems(place: ObjectStore, manifest: Manifest, *, thorough: bool = True) -> Iterator[str]:
    """Yield all that is wrong with a backup; nothing when it can be restored whole.

    Args:
        place: where it lies.
        manifest: which one it is.
        thorough: every object is read, not only looked for.
    """
    yield from check_tables(place, manifest)
    for key in manifest.lost:
        yield f"{key}: the store did not have it when the backup was made, though rows tell of it"

    def check(told: Told) -> str | None:
        return insist(lambda: _wrong(place, told, thorough=thorough))

    try:
        with _seen() as seen, ThreadPoolExecutor(HANDS) as hands:
            objects = _each_once(listed(place, manifest), seen)
            while batch := list(islice(objects, AT_ONCE)):
                yield from filter(None, hands.map(check, batch))
    except ValueError as error:
        yield str(error)


@contextmanager
def _seen() -> Iterator[Ledger]:
    with (
        tempfile.TemporaryDirectory(prefix="spindle-backup-") as folder,
        Ledger(Path(folder) / "ledger") as ledger,
    ):
        yield ledger


def _each_once(objects: Iterator[Told], seen: Ledger) -> Iterator[Told]:
    """Yield the first object of each content."""
    for told in objects:
        if not seen.holds(told.sha256):
            seen.hold(filter(None, [told.sha256]))
            yield told


def _wrong(place: ObjectStore, told: Told, *, thorough: bool) -> str | None:
    assert told.sha256 is not None
    key = object_key(told.sha256)
    found = place.stat(key)
    if found is None:
        return f"{told.key}: {key} is missing from the backup"
    if found.size != told.size:
        return f"{told.key}: {key} has {found.size} bytes, not {told.size}"
    if thorough:
        with place.open(key) as stream:
            read = measured(stream)
        if read.sha256 != told.sha256:
            return f"{told.key}: {key} has other bytes than its name tells"
    return None
