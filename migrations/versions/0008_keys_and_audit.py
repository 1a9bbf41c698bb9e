"""what keys gained: a prefix, an end, last use, former secrets, more scopes; the audit log; drawings' origin.

Expands only. ``write`` is split into ``train`` and ``serve``, which keys that have it are given; they keep
``write`` for older code, which knows no other. Keys of before have no prefix, and are found by their digest.
"""

from collections.abc import Callable

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0008"
down_revision: str | None = "0007"

JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
MOMENT = sa.DateTime(timezone=True)
SPLIT = ("train", "serve")
COLUMNS = (
    ("api_key", "prefix", sa.String()),
    ("api_key", "expires_at", MOMENT),
    ("api_key", "last_used_at", MOMENT),
    ("drawing", "origin", JSON),
)


def upgrade() -> None:
    for table, name, kind in COLUMNS:
        op.add_column(table, sa.Column(name, kind, nullable=True))
    op.create_index("ix_api_key_prefix", "api_key", ["prefix"])
    op.create_table(
        "former_secret",
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("key_id", sa.String(), nullable=False),
        sa.Column("prefix", sa.String(), nullable=True),
        sa.Column("good_until", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["key_id"], ["api_key.id"], name="fk_former_secret_key_id_api_key"),
        sa.PrimaryKeyConstraint("sha256", name="pk_former_secret"),
    )
    op.create_index("ix_former_secret_key_id", "former_secret", ["key_id"])
    op.create_index("ix_former_secret_prefix", "former_secret", ["prefix"])
    op.create_table(
        "audit_entry",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("key_id", sa.String(), nullable=False),
        sa.Column("method", sa.String(), nullable=False),
        sa.Column("route", sa.String(), nullable=False),
        sa.Column("object_id", sa.String(), nullable=True),
        sa.Column("outcome", sa.String(length=32), nullable=False),
        sa.Column("request_id", sa.String(), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name="fk_audit_entry_project_id_project"),
        sa.ForeignKeyConstraint(["key_id"], ["api_key.id"], name="fk_audit_entry_key_id_api_key"),
        sa.PrimaryKeyConstraint("id", name="pk_audit_entry"),
    )
    op.create_index("ix_audit_entry_project_id_id", "audit_entry", ["project_id", "id"])
    op.create_index("ix_audit_entry_created_at", "audit_entry", ["created_at"])
    _rewrite_scopes(_split)


def downgrade() -> None:
    _rewrite_scopes(_joined)
    op.drop_table("audit_entry")
    op.drop_table("former_secret")
    op.drop_index("ix_api_key_prefix", "api_key")
    for table, name, _ in reversed(COLUMNS):
        op.drop_column(table, name)


def _split(held: list[str]) -> list[str]:
    return [*held, *(scope for scope in SPLIT if "write" in held and scope not in held)]


def _joined(held: list[str]) -> list[str]:
    """Give ``write`` to no key that may do only a part of it."""
    write = ["write"] if "write" in held or set(SPLIT) <= set(held) else []
    return [scope for scope in held if scope not in (*SPLIT, "write")] + write


def _rewrite_scopes(change: Callable[[list[str]], list[str]]) -> None:
    keys = sa.table("api_key", sa.column("id", sa.String()), sa.column("scopes", JSON))
    connection = op.get_bind()
    for key_id, scopes in connection.execute(sa.select(keys.c.id, keys.c.scopes)).all():
        if change(scopes) != scopes:
            connection.execute(sa.update(keys).where(keys.c.id == key_id).values(scopes=change(scopes)))
