"""comparisons, their pictures and ballots, and datasets that votes chose.

Expands only: older code does not know the tables, and leaves the column empty.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0013"
down_revision: str | None = "0012"

JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
MOMENT = sa.DateTime(timezone=True)
ZERO = sa.text("0")
CAST = sa.text("choice IS NOT NULL")


def upgrade() -> None:
    comparison()
    model()
    picture()
    ballot()
    pairs()


def downgrade() -> None:
    op.drop_index("ix_dataset_comparison_id", "dataset")
    op.drop_column("dataset", "comparison_id")
    for table in ("dataset_pairs", "ballot", "comparison_picture", "comparison_model", "comparison"):
        op.drop_table(table)


def comparison() -> None:
    words = ("drawing", "ready", "failed")
    state = sa.Enum(*words, name="comparison_state", native_enum=False, create_constraint=True, length=32)
    op.create_table(
        "comparison",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("job_id", sa.String(), nullable=True),
        sa.Column("iteration", sa.Integer(), nullable=True),
        sa.Column("dataset_id", sa.String(), nullable=True),
        sa.Column("prompts", JSON, nullable=False),
        sa.Column("settings", JSON, nullable=False),
        sa.Column("state", state, nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("drawn", sa.Integer(), nullable=False, server_default=ZERO),
        sa.Column("failed", sa.Integer(), nullable=False, server_default=ZERO),
        sa.Column("votes", sa.Integer(), nullable=False, server_default=ZERO),
        sa.Column("failure", JSON, nullable=True),
        sa.Column("origin", JSON, nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("ready_at", MOMENT, nullable=True),
        sa.Column("deleted_at", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name="fk_comparison_project_id_project"),
        sa.PrimaryKeyConstraint("id", name="pk_comparison"),
    )
    for names in (["project_id", "id"], ["state", "id"]):
        op.create_index(f"ix_comparison_{'_'.join(names)}", "comparison", names)


def of_comparison(table: str) -> sa.ForeignKeyConstraint:
    name = f"fk_{table}_comparison_id_comparison"
    return sa.ForeignKeyConstraint(["comparison_id"], ["comparison.id"], name=name)


def model() -> None:
    op.create_table(
        "comparison_model",
        sa.Column("comparison_id", sa.String(), nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("model_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("label", sa.String(), nullable=True),
        of_comparison("comparison_model"),
        sa.PrimaryKeyConstraint("comparison_id", "position", name="pk_comparison_model"),
    )
    op.create_index("ix_comparison_model_model_id", "comparison_model", ["model_id"])


def picture() -> None:
    words = ("waiting", "asked", "drawn", "failed")
    state = sa.Enum(*words, name="picture_state", native_enum=False, create_constraint=True, length=32)
    op.create_table(
        "comparison_picture",
        sa.Column("comparison_id", sa.String(), nullable=False),
        sa.Column("model", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("prompt", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("state", state, nullable=False),
        sa.Column("drawing_id", sa.String(), nullable=True),
        sa.Column("files", JSON, nullable=True),
        sa.Column("pixels", JSON, nullable=True),
        sa.Column("failure", JSON, nullable=True),
        of_comparison("comparison_picture"),
        sa.PrimaryKeyConstraint("comparison_id", "model", "prompt", name="pk_comparison_picture"),
    )
    for names in (["comparison_id", "state"], ["drawing_id"]):
        op.create_index(f"ix_comparison_picture_{'_'.join(names)}", "comparison_picture", names)


def ballot() -> None:
    op.create_table(
        "ballot",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("comparison_id", sa.String(), nullable=False),
        sa.Column("prompt", sa.Integer(), nullable=False),
        sa.Column("seed", sa.Integer(), nullable=False),
        sa.Column("first", sa.Integer(), nullable=False),
        sa.Column("second", sa.Integer(), nullable=False),
        sa.Column("swapped", sa.Boolean(), nullable=False),
        sa.Column("voter", sa.String(), nullable=False),
        sa.Column("choice", sa.String(length=32), nullable=True),
        sa.Column("winner", sa.Integer(), nullable=True),
        sa.Column("vote_id", sa.String(), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.Column("voted_at", MOMENT, nullable=True),
        of_comparison("ballot"),
        sa.PrimaryKeyConstraint("id", name="pk_ballot"),
    )
    op.create_index("ix_ballot_comparison_id_voter", "ballot", ["comparison_id", "voter"])
    op.create_index("ix_ballot_comparison_id_vote_id", "ballot", ["comparison_id", "vote_id"], unique=True)
    op.create_index(
        "uq_ballot_once_a_voter",
        "ballot",
        ["comparison_id", "voter", "prompt", "seed", "first", "second"],
        unique=True,
        sqlite_where=CAST,
        postgresql_where=CAST,
    )


def pairs() -> None:
    op.create_table(
        "dataset_pairs",
        sa.Column("dataset_id", sa.String(), nullable=False),
        sa.Column("comparison_id", sa.String(), nullable=False),
        sa.Column("pairs", JSON, nullable=False),
        sa.ForeignKeyConstraint(["dataset_id"], ["dataset.id"], name="fk_dataset_pairs_dataset_id_dataset"),
        of_comparison("dataset_pairs"),
        sa.PrimaryKeyConstraint("dataset_id", name="pk_dataset_pairs"),
    )
    op.create_index("ix_dataset_pairs_comparison_id", "dataset_pairs", ["comparison_id"])
    op.add_column("dataset", sa.Column("comparison_id", sa.String(), nullable=True))
    op.create_index("ix_dataset_comparison_id", "dataset", ["comparison_id"])
