"""Databases of PostgreSQL for tests: copies of a template, put as they were and used again.

To make and drop a copy costs a fifth of a second of a processor, for its three hundred files.
"""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import count

import psycopg
from psycopg.sql import SQL, Identifier, Literal

names = count(1)
# A thread that a test left behind may still write into its database: others are used meanwhile.
AT_REST = 8
MOST_ROWS = 1000  # in a table; what was full is dropped, for its space is not given back
TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename"
SEQUENCES = "SELECT sequencename, last_value, start_value FROM pg_sequences WHERE schemaname = 'public'"
OTHERS = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
SHAPE = """
SELECT (SELECT max(oid::bigint) FROM pg_class), (SELECT max(oid::bigint) FROM pg_proc), (
  SELECT md5(string_agg(format('%s.%s %s', attrelid, attnum, attname), ',' ORDER BY attrelid, attnum))
  FROM pg_attribute WHERE attrelid >= 16384)
"""
Connection = psycopg.Connection[tuple[object, ...]]


def create_database(url: str, name: str, *, template: str) -> None:
    """Make a database in PostgreSQL."""
    with psycopg.connect(url.format(database="postgres"), autocommit=True) as connection:
        connection.execute(
            SQL("CREATE DATABASE {} TEMPLATE {}").format(Identifier(name), Identifier(template))
        )


def drop_database(url: str, name: str) -> None:
    """Remove a database from PostgreSQL, and who is connected to it."""
    with psycopg.connect(url.format(database="postgres"), autocommit=True) as connection:
        connection.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))


@contextmanager
def database_like(url: str, template: str) -> Iterator[str]:
    """Yield the name of a database that is as the template is, and that nobody else uses."""
    copies = _copies(url, template)
    copy = copies.take()
    try:
        yield copy.name
    finally:
        copies.give_back(copy)


@dataclass(frozen=True)
class Copy:
    """A database, and what it was like when it was new."""

    name: str
    shape: tuple[object, ...]
    rows: dict[str, bytes]
    sequences: dict[str, tuple[object, bool]]


class Copies:
    """The databases of a process that are copies of one template."""

    def __init__(self, url: str, template: str) -> None:
        self.url = url
        self.template = template
        self.spare: deque[Copy] = deque()

    def take(self) -> Copy:
        """Return the one that was given back longest ago, or a new one."""
        if len(self.spare) > AT_REST:
            return self.spare.popleft()
        name = f"spindle_{next(names)}"
        create_database(self.url, name, template=self.template)
        with psycopg.connect(self.url.format(database=name)) as connection:
            return Copy(name, _shape(connection), _rows(connection), _sequences(connection))

    def give_back(self, copy: Copy) -> None:
        """Put it as it was, or remove it if its tables are not what they were, or have grown large."""
        with psycopg.connect(self.url.format(database=copy.name)) as connection:
            connection.execute(f"SELECT pg_terminate_backend(pid) {OTHERS}")
            clean = _shape(connection) == copy.shape and _restore(connection, copy)
        if clean:
            self.spare.append(copy)
        else:
            drop_database(self.url, copy.name)


@cache
def _copies(url: str, template: str) -> Copies:
    return Copies(url, template)


def _shape(connection: Connection) -> tuple[object, ...]:
    """Return what differs after any change of tables, columns or functions."""
    found = connection.execute(SHAPE).fetchone()
    assert found is not None
    return found


def _filled(connection: Connection) -> dict[str, int]:
    """Return the tables that have rows, with their number, or one more than the most that matter."""
    tables = [str(name) for (name,) in connection.execute(TABLES)]
    if not tables:
        return {}
    each = SQL("SELECT {}, count(*) FROM (SELECT FROM {} LIMIT {}) AS found")
    asked = SQL(" UNION ALL ").join(
        each.format(Literal(name), Identifier(name), Literal(MOST_ROWS + 1)) for name in tables
    )
    return {str(name): int(str(number)) for name, number in connection.execute(asked) if number}


def _rows(connection: Connection) -> dict[str, bytes]:
    found = {}
    for table in _filled(connection):
        with connection.cursor().copy(SQL("COPY {} TO STDOUT").format(Identifier(table))) as copy:
            found[table] = b"".join(bytes(block) for block in copy)
    return found


def _sequences(connection: Connection) -> dict[str, tuple[object, bool]]:
    """Return the value of each sequence, and whether it was given out."""
    return {
        str(name): (start if last is None else last, last is not None)
        for name, last, start in connection.execute(SEQUENCES)
    }


def _restore(connection: Connection, copy: Copy) -> bool:
    """Give the tables the rows that they had; return whether that was worth it."""
    filled = _filled(connection)
    if max(filled.values(), default=0) > MOST_ROWS:
        return False
    if filled:  # not by DELETE, which leaves gaps: later rows would lie in another order than they came in
        connection.execute(SQL("TRUNCATE {} CASCADE").format(SQL(", ").join(map(Identifier, filled))))
    # So that the order of the tables does not matter.
    connection.execute("SET LOCAL session_replication_role = replica")
    for table, rows in copy.rows.items():
        with connection.cursor().copy(SQL("COPY {} FROM STDIN").format(Identifier(table))) as into:
            into.write(rows)
    for name, (value, given) in _sequences(connection).items():
        if (value, given) != copy.sequences[name]:
            connection.execute("SELECT setval(quote_ident(%s), %s, %s)", (name, *copy.sequences[name]))
    return True
