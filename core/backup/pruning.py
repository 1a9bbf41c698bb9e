"""Old backups go, and then the objects that no other one holds."""

import tempfile
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from core.backup.ledger import Ledger
from core.backup.place import BACKUPS, MANIFEST, OBJECTS, Manifest, ids
from core.backup.verifying import listed
from core.clock import utcnow
from core.storage.store import ObjectStore

YOUNG = timedelta(days=1)  # a backup that is being made counts on objects that no manifest tells of yet


@dataclass(frozen=True)
class Pruned:
    """Backups that were deleted, and how many objects."""

    backups: tuple[str, ...]
    objects: int


def prune(place: ObjectStore, *, keep: int, now: datetime | None = None) -> Pruned:
    """Delete all but the newest backups and what only they held; objects younger than a day stay.

    Do not run it while a backup is made that began more than a day after an earlier one had copied objects
    without being finished: those are old, and no backup's yet.

    Raises:
        ValueError: none would be left, or one that stays is damaged; nothing was deleted.
    """
    if keep < 1:
        raise ValueError("keep 1 backup or more")
    whole, unfinished = ids(place)
    stay, go = whole[-keep:], whole[:-keep]
    deleted = 0
    with (
        tempfile.TemporaryDirectory(prefix="spindle-backup-") as folder,
        Ledger(Path(folder) / "ledger") as ledger,
    ):
        for backup_id in stay:
            manifest = Manifest.read(place, backup_id)
            ledger.hold(told.sha256 for told in listed(place, manifest) if told.sha256 is not None)
        for backup_id in go:
            place.delete(f"{BACKUPS}/{backup_id}/{MANIFEST}")  # from here on it is no backup
        old = (now or utcnow()) - YOUNG
        for backup_id in (*go, *unfinished):
            for key in list(place.list(f"{BACKUPS}/{backup_id}/")):
                if backup_id in go or _is_older(place, key, old):
                    place.delete(key)
        for key in place.list(f"{OBJECTS}/"):
            if not ledger.holds(key.rpartition("/")[2]) and _is_older(place, key, old):
                place.delete(key)
                deleted += 1
    return Pruned(tuple(go), deleted)


def _is_older(place: ObjectStore, key: str, moment: datetime) -> bool:
    found = place.stat(key)
    return found is not None and found.modified < moment
