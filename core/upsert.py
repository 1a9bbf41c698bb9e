"""INSERT ... ON CONFLICT, which SQLAlchemy has once for each database."""

from typing import Any

from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session


def insert(session: Session, table: Any) -> postgresql.Insert:
    """Return an insert that has ``on_conflict_do_nothing`` and ``on_conflict_do_update``.

    Both dialects spell these alike, so that one type stands for both.
    """
    if session.get_bind().dialect.name == "postgresql":
        return postgresql.insert(table)
    return sqlite.insert(table)  # type: ignore[return-value]  # the same methods, see above
