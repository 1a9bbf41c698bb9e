"""The database's clock in SQL, the same on SQLite and PostgreSQL. Leases know no other."""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, DateTime, Dialect, Double, literal
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator


class UtcDateTime(TypeDecorator[datetime]):
    """A moment: aware and UTC in Python, ``timestamptz`` in PostgreSQL, sortable text in SQLite."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Refuse a moment without a zone."""
        if value is None:
            return None
        assert value.tzinfo is not None, "a moment needs its time zone"
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Give the zone back that SQLite does not keep."""
        return (
            None
            if value is None
            else value.replace(tzinfo=UTC)
            if value.tzinfo is None
            else value.astimezone(UTC)
        )


class _DatabaseNow(FunctionElement[datetime]):
    """The database's now, plus some seconds: a parameter, so that a statement is compiled once."""

    inherit_cache = True
    name = "database_now"
    type = UtcDateTime()


@compiles(_DatabaseNow, "sqlite")
def _sqlite(element: _DatabaseNow, compiler: SQLCompiler, **kwargs: Any) -> str:
    # Six digits after the second, as SQLAlchemy writes them: text sorts by time only when its form is one.
    seconds = compiler.process(element.clauses, **kwargs)
    return f"(strftime('%Y-%m-%d %H:%M:%f', 'now', printf('%+.3f seconds', {seconds})) || '000')"


@compiles(_DatabaseNow, "postgresql")
def _postgresql(element: _DatabaseNow, compiler: SQLCompiler, **kwargs: Any) -> str:
    return f"(clock_timestamp() + make_interval(secs => {compiler.process(element.clauses, **kwargs)}))"


def database_now(*, plus: float = 0.0, now: datetime | None = None) -> ColumnElement[datetime]:
    """Return SQL for now plus some seconds.

    Args:
        plus: seconds to add.
        now: what the time is taken to be, in place of the database's clock.
    """
    if now is not None:
        return literal(now + timedelta(seconds=plus), UtcDateTime())
    return _DatabaseNow(literal(plus, Double()))


def utcnow() -> datetime:
    """Return this process's now, for what people read; never for leases."""
    return datetime.now(UTC)
