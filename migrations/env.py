"""How Alembic reaches the tables and the database."""

from typing import Any, Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext
from sqlalchemy import Connection, types

from core.clock import UtcDateTime
from core.db import Database
from core.models import Base
from core.settings import get_settings

JSON = "sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), 'postgresql')"


def render(kind: str, column_type: Any, context: AutogenContext) -> str | Literal[False]:
    """Write our own types as what they are in the database: a migration outlives the code of its day."""
    if kind == "type" and isinstance(column_type, UtcDateTime):
        return "sa.DateTime(timezone=True)"
    if kind == "type" and isinstance(column_type, types.JSON):
        context.imports.add("from sqlalchemy.dialects import postgresql")
        return JSON
    return False


def run(connection: Connection) -> None:
    """Migrate on an open connection, in its transaction. SQLite can do that too, and is told so here."""
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        transactional_ddl=True,
        render_as_batch=True,
        render_item=render,
        compare_type=True,
        compare_server_default=True,
    )
    with context.begin_transaction():
        context.run_migrations()


given: Connection | None = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    database = Database(get_settings())
    with database.engine.begin() as opened:
        run(opened)
    database.dispose()
