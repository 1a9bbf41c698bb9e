"""Where backups lie: a folder or a bucket of their own.

``objects/ab/SHA256`` holds each object once, whichever backups and keys it belongs to, and is never written
anew. ``backups/ID/`` holds the tables, the list of objects, and last of all ``manifest.json``: without it
there is no backup.
"""

import hashlib
import io
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from core.settings import Settings
from core.storage.folder import FolderStore
from core.storage.s3 import S3Store
from core.storage.store import ObjectStore

FORMAT = 1
BACKUPS, OBJECTS = "backups", "objects"
MANIFEST = "manifest.json"
LIST = "objects.jsonl.gz"
PRIVATE = 0o077
"""What others may not do with the files of a backup: anything."""


@dataclass(frozen=True)
class Lines:
    """A file of JSON lines, packed: how many there are, and the sha256 of them unpacked."""

    rows: int
    sha256: str


@dataclass(frozen=True)
class Table:
    """The rows of a table, and of which kind each column is (core.backup.tables)."""

    name: str
    columns: dict[str, str]
    lines: Lines


@dataclass(frozen=True)
class Manifest:
    """What a backup consists of.

    ``lost`` are keys that rows tell of and the store did not have, or not with the bytes that they tell of.
    ``secrets``: it holds digests of API keys and the secrets of webhooks.
    """

    id: str
    created_at: str
    revision: str
    database: str
    tables: tuple[Table, ...]
    objects: Lines
    bytes: int
    lost: tuple[str, ...]
    secrets: bool

    def write(self, place: ObjectStore) -> None:
        """Make the backup one."""
        told = {"format": FORMAT, **asdict(self)}
        data = json.dumps(told | {"sha256": _digest(told)}, indent=1).encode()
        place.put(self.key(MANIFEST), io.BytesIO(data), len(data))

    @classmethod
    def read(cls, place: ObjectStore, backup_id: str) -> Self:
        """Return a backup's; ValueError when it is not there, damaged or of another format."""
        try:
            with place.open(f"{BACKUPS}/{backup_id}/{MANIFEST}") as stream:
                told = json.loads(stream.read())
        except FileNotFoundError:
            raise ValueError(f"there is no backup {backup_id}; `list` shows what there is") from None
        except ValueError as error:
            raise ValueError(f"backup {backup_id}: {MANIFEST} is damaged; use another one") from error
        if told.pop("sha256", None) != _digest(told):
            raise ValueError(f"backup {backup_id}: {MANIFEST} is damaged; use another one")
        if told.pop("format") != FORMAT:
            raise ValueError(f"backup {backup_id} is of another format: use the version that made it")
        tables = tuple(
            Table(each["name"], each["columns"], Lines(**each["lines"])) for each in told.pop("tables")
        )
        objects, lost = Lines(**told.pop("objects")), tuple(told.pop("lost"))
        return cls(**told, tables=tables, objects=objects, lost=lost)

    def key(self, name: str) -> str:
        """Return where a file of this backup lies."""
        return f"{BACKUPS}/{self.id}/{name}"


def _digest(told: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def place_of(told: str, *, store_url: str = "") -> ObjectStore:
    """Return the place that a person names: FOLDER, ``s3://...`` as the store's URL, or ``@FILE`` with that.

    A file keeps the key of an S3 out of the list of processes.

    Args:
        told: what was named.
        store_url: the platform's own store.

    Raises:
        ValueError: it is no place, or the platform's own store, whose sweep would delete the backup.
    """
    if told.startswith("@"):
        told = Path(told[1:]).read_text().strip()
    if not told.startswith("s3://"):
        folder = Path(told.removeprefix("file://")).expanduser().absolute()
        own = Path(store_url.removeprefix("file://")) if store_url.startswith("file://") else None
        if own is not None and folder.is_relative_to(own):
            raise ValueError(f"{folder} is the platform's own store: name another folder")
        return FolderStore(folder, public_url="", secret=secrets.token_bytes(32))
    url = Settings.model_validate({"store_url": told}).store_url
    if _bucket(url) == _bucket(store_url):
        raise ValueError("this bucket is the platform's own store: name another one")
    return S3Store.from_url(url)


def _bucket(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.netloc.rpartition("@")[2], parts.path.strip("/")


@contextmanager
def private() -> Iterator[None]:
    """Let files and folders that this process makes be read by nobody else meanwhile."""
    before = os.umask(PRIVATE)
    try:
        yield
    finally:
        os.umask(before)


def new_id(now: datetime) -> str:
    """Return the name of a backup of now; names sort by time."""
    return f"{now:%Y%m%dT%H%M%S.%fZ}-{secrets.token_hex(2)}"


def object_key(sha256: str) -> str:
    """Return where an object lies."""
    return f"{OBJECTS}/{sha256[:2]}/{sha256}"


def table_key(name: str) -> str:
    """Return the file of a table in a backup."""
    return f"tables/{name}.jsonl.gz"


def ids(place: ObjectStore) -> tuple[list[str], list[str]]:
    """Return the backups that are there, oldest first, and those that were not finished."""
    found: dict[str, bool] = {}
    for key in place.list(f"{BACKUPS}/"):
        _, backup_id, name = key.split("/", 2)
        found[backup_id] = found.get(backup_id, False) or name == MANIFEST
    return [each for each in found if found[each]], [each for each in found if not found[each]]


def chosen(place: ObjectStore, backup_id: str | None) -> Manifest:
    """Return the manifest of a backup, the newest if none is named."""
    whole, _ = ids(place)
    if backup_id is None and not whole:
        raise ValueError("there is no backup here; `create` makes one")
    return Manifest.read(place, backup_id or whole[-1])
