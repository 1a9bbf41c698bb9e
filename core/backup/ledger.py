"""What is to be copied and what is there, in a SQLite file: millions of objects fit in no memory."""

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from core.backup.objects import Told

TABLES = """
CREATE TABLE object (
  key TEXT PRIMARY KEY, sha256 TEXT, size INTEGER, done INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE held (sha256 TEXT PRIMARY KEY) WITHOUT ROWID;
"""
AT_ONCE = 256


@dataclass(frozen=True)
class Totals:
    """How many objects a backup holds, and their bytes, each of its contents once."""

    objects: int
    bytes: int


class Ledger:
    """Objects by key. ``done``: they are in the backup, or will not come."""

    def __init__(self, path: Path) -> None:
        self._rows = sqlite3.connect(path, isolation_level=None)
        for pragma in ("journal_mode=OFF", "synchronous=OFF"):  # it ends with its process
            self._rows.execute(f"PRAGMA {pragma}")
        self._rows.executescript(TABLES)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._rows.close()

    def begin(self) -> None:
        """Forget what rows told of, not what the backup has."""
        self._rows.execute("DELETE FROM object")

    def hold(self, sha256s: Iterable[str]) -> None:
        """Note contents that the backup has."""
        self._rows.executemany("INSERT OR IGNORE INTO held VALUES (?)", ((each,) for each in sha256s))

    def holds(self, sha256: str | None) -> bool:
        """Tell whether the backup has some contents; of unknown ones it has none."""
        found = self._rows.execute("SELECT 1 FROM held WHERE sha256 = ?", (sha256,))
        return found.fetchone() is not None

    def add(self, told: Told) -> None:
        """Note an object that a row tells of; of two rows, the one that knows its digest counts."""
        self._rows.execute(
            "INSERT INTO object (key, sha256, size) VALUES (?, ?, ?) ON CONFLICT DO UPDATE"
            " SET sha256 = coalesce(sha256, excluded.sha256), size = coalesce(size, excluded.size)",
            (told.key, told.sha256, told.size),
        )

    def learn(self, known: Iterable[Told]) -> None:
        """Take the digests of objects that rows do not tell from an earlier backup: objects never change."""
        self._rows.executemany(
            "UPDATE object SET sha256 = ?, size = ? WHERE key = ? AND sha256 IS NULL",
            ((each.sha256, each.size, each.key) for each in known),
        )

    def skip_held(self) -> int:
        """Mark what the backup has already as done; return how many."""
        done = self._rows.execute(
            "UPDATE object SET done = 1 WHERE done = 0 AND sha256 IN (SELECT sha256 FROM held)"
        )
        return done.rowcount

    def wanted(self) -> Iterator[list[Told]]:
        """Yield what is still to be copied, some at a time, until none is left; the caller settles each."""
        ask = "SELECT key, sha256, size FROM object WHERE done = 0 ORDER BY key LIMIT ?"
        while rows := self._rows.execute(ask, (AT_ONCE,)).fetchall():
            yield [Told(*row) for row in rows]

    def settle(self, told: Told, *, lost: bool = False) -> None:
        """Note that an object is in the backup, or that it cannot be had."""
        self._rows.execute(
            "UPDATE object SET done = 1, sha256 = ?, size = ? WHERE key = ?",
            (None if lost else told.sha256, told.size, told.key),
        )
        if not lost and told.sha256 is not None:
            self.hold([told.sha256])

    def all(self) -> Iterator[Told]:
        """Yield what the backup holds, by key."""
        rows = self._rows.execute(
            "SELECT key, sha256, size FROM object WHERE sha256 IS NOT NULL ORDER BY key"
        )
        yield from (Told(*row) for row in rows)

    def totals(self) -> Totals:
        """Return what the backup holds."""
        [count] = self._rows.execute("SELECT count(*) FROM object WHERE sha256 IS NOT NULL").fetchone()
        [size] = self._rows.execute(
            "SELECT coalesce(sum(size), 0) FROM"
            " (SELECT DISTINCT sha256, size FROM object WHERE sha256 IS NOT NULL)"
        ).fetchone()
        return Totals(count, size)
