"""A platform as tests look at it."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from core.db import Database
from core.models import (
    Base,
)
from core.settings import Settings
from core.storage.store import ObjectStore, store_for


@dataclass
class Platform:
    """Settings, and what they name."""

    settings: Settings
    database: Database
    store: ObjectStore


@contextmanager
def opened(settings: Settings) -> Iterator[Platform]:
    database = Database(settings)
    try:
        yield Platform(settings, database, store_for(settings))
    finally:
        database.dispose()


def rows_of(database: Database, table: str) -> list[tuple[Any, ...]]:
    with database.engine.connect() as connection:
        found = connection.execute(select(Base.metadata.tables[table]))
        return sorted((tuple(row) for row in found), key=repr)


def bytes_in(store: ObjectStore) -> dict[str, str]:
    found = {}
    for key in store.list(""):
        with store.open(key) as stream:
            found[key] = hashlib.sha256(stream.read()).hexdigest()
    return found
