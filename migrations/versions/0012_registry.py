"""registered names with versions and aliases, exports and imports of models.

Expands only: older code does not know the tables, and claims no unit of a kind it does not know.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0012"
down_revision: str | None = "0011"

JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
MOMENT = sa.DateTime(timezone=True)
ZERO = sa.text("0")
UNIT_KINDS = ("ingest", "encode", "generate", "train", "evaluate", "publish")
MODEL_KINDS = ("base", "result", "checkpoint")


def upgrade() -> None:
    names()
    aliases()
    transfers()
    op.add_column("model", sa.Column("weights", sa.String(), nullable=True))
    op.add_column("unit", sa.Column("transfer_id", sa.String(), nullable=True))
    op.create_index("ix_unit_transfer_id", "unit", ["transfer_id"])
    allow("unit", "kind", "unit_kind", before=UNIT_KINDS, after=(*UNIT_KINDS, "export", "import"))
    allow("model", "kind", "model_kind", before=MODEL_KINDS, after=(*MODEL_KINDS, "imported"))


def downgrade() -> None:
    units = "SELECT id FROM unit WHERE kind IN ('export', 'import')"
    op.execute(f"DELETE FROM attempt WHERE unit_id IN ({units})")  # noqa: S608  no word of it is from outside
    op.execute("DELETE FROM unit WHERE kind IN ('export', 'import')")
    op.execute("DELETE FROM model WHERE kind = 'imported'")
    allow("unit", "kind", "unit_kind", before=(*UNIT_KINDS, "export", "import"), after=UNIT_KINDS)
    allow("model", "kind", "model_kind", before=(*MODEL_KINDS, "imported"), after=MODEL_KINDS)
    op.drop_index("ix_unit_transfer_id", "unit")
    op.drop_column("unit", "transfer_id")
    op.drop_column("model", "weights")
    for table in (
        "model_import",
        "model_export",
        "alias_move",
        "model_alias",
        "model_version",
        "registered_model",
    ):
        op.drop_table(table)


def allow(table: str, column: str, name: str, *, before: tuple[str, ...], after: tuple[str, ...]) -> None:
    """Let a column hold other words than before.

    SQLite changes no constraint of a table that is there, and making it anew would break what refers to it.
    What it advises instead for a CHECK is to rewrite the table's text
    (https://www.sqlite.org/lang_altertable.html#otheralter).
    """
    old, new = (", ".join(f"'{word}'" for word in words) for words in (before, after))
    if op.get_bind().dialect.name == "postgresql":
        op.drop_constraint(name, table, type_="check")
        op.create_check_constraint(name, table, sa.text(f"{column} IN ({new})"))
        return
    version = op.get_bind().exec_driver_sql("PRAGMA schema_version").scalar_one()
    op.execute("PRAGMA writable_schema=ON")
    changed = op.get_bind().execute(
        sa.text(
            "UPDATE sqlite_schema SET sql = replace(sql, :old, :new) "
            "WHERE type = 'table' AND name = :table AND instr(sql, :old)"
        ),
        {"old": f"{column} IN ({old})", "new": f"{column} IN ({new})", "table": table},
    )
    if changed.rowcount != 1:
        raise RuntimeError(f"{table} has no such constraint")
    op.execute(f"PRAGMA schema_version={version + 1}")
    op.execute("PRAGMA writable_schema=RESET")


def names() -> None:
    op.create_table(
        "registered_model",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=True),
        sa.Column("versions", sa.Integer(), nullable=False, server_default=ZERO),
        sa.Column("created_by", sa.String(), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"], ["project.id"], name="fk_registered_model_project_id_project"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_registered_model"),
        sa.UniqueConstraint("project_id", "name", name="uq_registered_model_project_id_name"),
    )
    op.create_table(
        "model_version",
        sa.Column("registered_id", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("model_id", sa.String(), nullable=False),
        sa.Column("notes", sa.String(), nullable=True),
        sa.Column("created_by", sa.String(), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        of_name("model_version"),
        sa.PrimaryKeyConstraint("registered_id", "version", name="pk_model_version"),
    )
    op.create_index("ix_model_version_model_id", "model_version", ["model_id"])


def of_name(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["registered_id"], ["registered_model.id"], name=f"fk_{table}_registered_id_registered_model"
    )


def aliases() -> None:
    op.create_table(
        "model_alias",
        sa.Column("registered_id", sa.String(), nullable=False),
        sa.Column("alias", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("split_version", sa.Integer(), nullable=True),
        sa.Column("split_share", sa.Double(), nullable=True),
        sa.Column("moves", sa.Integer(), nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        of_name("model_alias"),
        sa.PrimaryKeyConstraint("registered_id", "alias", name="pk_model_alias"),
    )
    op.create_table(
        "alias_move",
        sa.Column("registered_id", sa.String(), nullable=False),
        sa.Column("alias", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("split_version", sa.Integer(), nullable=True),
        sa.Column("split_share", sa.Double(), nullable=True),
        sa.Column("cause", sa.String(32), nullable=False),
        sa.Column("restores", sa.Integer(), nullable=True),
        sa.Column("created_by", sa.String(), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        of_name("alias_move"),
        sa.PrimaryKeyConstraint("registered_id", "alias", "number", name="pk_alias_move"),
    )


def transfers() -> None:
    op.create_table(
        "model_export",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("model_id", sa.String(), nullable=False),
        sa.Column("format", sa.String(32), nullable=False),
        sa.Column("content_key", sa.String(), nullable=False),
        sa.Column("pipeline", sa.String(), nullable=False),
        sa.Column("weights", sa.String(), nullable=True),
        sa.Column("card", sa.String(), nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("filename", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=True),
        sa.Column("bytes", sa.BigInteger(), nullable=True),
        sa.Column("sha256", sa.String(), nullable=True),
        sa.Column("failure", JSON, nullable=True),
        sa.Column("created_by", sa.String(), nullable=True),
        sa.Column("origin", JSON, nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("used_at", MOMENT, nullable=False),
        sa.Column("finished_at", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name="fk_model_export_project_id_project"),
        sa.PrimaryKeyConstraint("id", name="pk_model_export"),
    )
    for columns in (["project_id", "content_key"], ["project_id", "model_id"], ["used_at"]):
        op.create_index(f"ix_model_export_{'_'.join(columns)}", "model_export", columns)
    op.create_table(
        "model_import",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("file_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("base_model_id", sa.String(), nullable=True),
        sa.Column("pipeline", sa.String(), nullable=True),
        sa.Column("digest", sa.String(), nullable=True),
        sa.Column("alpha", sa.Double(), nullable=True),
        sa.Column("licence", sa.String(), nullable=True),
        sa.Column("notes", sa.String(), nullable=True),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("model_id", sa.String(), nullable=False),
        sa.Column("found", JSON, nullable=True),
        sa.Column("failure", JSON, nullable=True),
        sa.Column("created_by", sa.String(), nullable=True),
        sa.Column("origin", JSON, nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("finished_at", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name="fk_model_import_project_id_project"),
        sa.ForeignKeyConstraint(["file_id"], ["file.id"], name="fk_model_import_file_id_file"),
        sa.PrimaryKeyConstraint("id", name="pk_model_import"),
    )
    for column in ("project_id", "file_id", "model_id"):
        op.create_index(f"ix_model_import_{column}", "model_import", [column])
