"""Objects from one store to another, a few at a time, each held against its digest on the way."""

import hashlib
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import BinaryIO, TypeVar

from core.backup.ledger import Ledger
from core.backup.objects import Told
from core.backup.place import object_key
from core.errors import StoreUnavailable
from core.storage.objects import CHUNK, Stored
from core.storage.store import ObjectStore

HANDS = 4
"""Objects on their way at once; each holds some pieces of 16 MiB in memory."""
WAITS = (1.0, 2.0, 4.0, 8.0)
ValueT = TypeVar("ValueT")


@dataclass(frozen=True)
class Copied:
    """How many objects were copied, their bytes, and the keys of those that could not be had."""

    objects: int
    bytes: int
    lost: tuple[str, ...]


def to_backup(store: ObjectStore, place: ObjectStore, ledger: Ledger) -> Copied:
    """Copy what the ledger wants. An object that is gone, or has other bytes than its row tells, is lost."""
    copied = size = 0
    lost: list[str] = []

    def copy(told: Told) -> Told | None:
        return insist(lambda: _keep(store, place, told))

    with ThreadPoolExecutor(HANDS) as hands:
        for batch in ledger.wanted():
            for group in _twins_last(batch):
                wanted = [told for told in group if not ledger.holds(told.sha256)]
                for told, kept in zip(wanted, hands.map(copy, wanted), strict=True):
                    ledger.settle(kept or told, lost=kept is None)
                    if kept is None:
                        lost.append(told.key)
                    else:
                        copied, size = copied + 1, size + (kept.size or 0)
                for told in group:
                    if told not in wanted:
                        ledger.settle(told)
    return Copied(copied, size, tuple(lost))


def _twins_last(batch: Sequence[Told]) -> tuple[list[Told], list[Told]]:
    """Return one object of each content, and the others: they need no copy once those are there."""
    first = {told.sha256 or told.key: told for told in reversed(batch)}
    firsts = [told for told in batch if first[told.sha256 or told.key] is told]
    return firsts, [told for told in batch if first[told.sha256 or told.key] is not told]


def _keep(store: ObjectStore, place: ObjectStore, told: Told) -> Told | None:
    try:
        if told.sha256 is None:
            with store.open(told.key) as stream:
                found = measured(stream)
            told = replace(told, sha256=found.sha256, size=found.size)
        assert told.sha256 is not None
        with store.open(told.key) as stream:
            place.put(object_key(told.sha256), stream, told.size, sha256=told.sha256)
    except (FileNotFoundError, ValueError):
        return None
    return told


def measured(stream: BinaryIO) -> Stored:
    """Read a stream to its end and return what it was."""
    digest, size = hashlib.sha256(), 0
    while piece := stream.read(CHUNK):
        digest.update(piece)
        size += len(piece)
    return Stored(size, digest.hexdigest())


def insist(do: Callable[[], ValueT]) -> ValueT:
    """Do something again, some times, while a store does not answer."""
    for wait in WAITS:
        try:
            return do()
        except StoreUnavailable:
            time.sleep(wait)
    return do()
