"""Rows of every table as JSON, the same from SQLite and PostgreSQL, seen at one moment."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, TableClause, select
from sqlalchemy import Table as SqlTable
from sqlalchemy import column as sql_column
from sqlalchemy import table as sql_table
from sqlalchemy.types import JSON, NullType, TypeEngine

from core.backup.lines import Writer
from core.backup.place import Table
from core.clock import UtcDateTime
from core.db import LOOKS, Database
from core.models import Base
from core.models.columns import Json

Row = dict[str, Any]
MOMENT, DATA, PLAIN = "moment", "json", "plain"
AT_ONCE = 500
LEFT_OUT: Final = frozenset({"gang_seat", "outbox", "worker_node", "web_session"})
"""What is of processes and browsers that a restored platform does not have: seats, doorbells, sign-ins."""
PATIENT = ("statement_timeout", "idle_in_transaction_session_timeout")


@contextmanager
def snapshot(database: Database) -> Iterator[Connection]:
    """Open a connection that goes on seeing the database as it is at its first question.

    It hinders nobody, but a migration waits for it.
    """
    on_postgres = database.engine.dialect.name == "postgresql"
    repeatable: dict[str, Any] = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    options = repeatable if on_postgres else {LOOKS: True}
    with database.engine.execution_options(**options).connect() as connection, connection.begin():
        be_patient(connection)
        yield connection


def be_patient(connection: Connection) -> None:
    """Let this transaction take its time."""
    if connection.dialect.name == "postgresql":
        for name in PATIENT:
            connection.exec_driver_sql(f"SET LOCAL {name} = 0")


def kept_tables() -> list[SqlTable]:
    """Return the tables that a backup holds, each after those that it refers to."""
    return [table for table in Base.metadata.sorted_tables if table.name not in LEFT_OUT]


def kinds_of(table: SqlTable) -> dict[str, str]:
    """Return the kind of each column."""
    return {column.name: _kind(column.type) for column in table.columns}


def _kind(kind: TypeEngine[Any]) -> str:
    if isinstance(kind, UtcDateTime):
        return MOMENT
    return DATA if isinstance(kind, JSON) else PLAIN


def dump(
    connection: Connection, table: SqlTable, path: Path, *, each: Callable[[str, Row], Row | None]
) -> Table:
    """Write a table's rows to a file; ``each`` sees every row and returns what is kept of it."""
    kinds = kinds_of(table)
    moments = [name for name, kind in kinds.items() if kind == MOMENT]
    rows = connection.execution_options(stream_results=True, yield_per=AT_ONCE).execute(select(table))
    with Writer(path) as writer:
        for found in rows.mappings():
            row = each(table.name, {column.name: found[column] for column in table.columns})
            if row is not None:
                for name in moments:
                    row[name] = None if row[name] is None else row[name].isoformat()
                writer.write(row)
    return Table(table.name, kinds, writer.lines)


def as_clause(table: Table) -> TableClause:
    """Return a table as it was when it was written, whatever the models say today."""
    types: dict[str, TypeEngine[Any]] = {MOMENT: UtcDateTime(), DATA: Json, PLAIN: NullType()}
    return sql_table(table.name, *(sql_column(name, types[kind]) for name, kind in table.columns.items()))


def load(connection: Connection, table: Table, rows: Iterable[Row]) -> int:
    """Insert rows, some at a time; return how many."""
    statement = as_clause(table).insert()
    count, batch = 0, []
    for row in rows:
        batch.append(row)
        if len(batch) == AT_ONCE:
            connection.execute(statement, batch)
            count, batch = count + len(batch), []
    if batch:
        connection.execute(statement, batch)
    return count + len(batch)


def with_moments(table: Table, row: Row) -> Row:
    """Return a row that was read, its moments as such."""
    moments = [name for name, kind in table.columns.items() if kind == MOMENT and row[name] is not None]
    return row | {name: datetime.fromisoformat(row[name]) for name in moments}


def named(name: str) -> TableClause:
    """Return a table by its name alone."""
    return sql_table(name)
