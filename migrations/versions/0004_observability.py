"""what counters, doctor and traces need: tallies, when a unit became ready, who caused a job, deaf workers.

Expands only: older code leaves the new columns empty. Attempts of before are counted by the first beat.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0004"
down_revision: str | None = "0003"

JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
MOMENT = sa.DateTime(timezone=True)
COLUMNS = (
    ("job", "origin", JSON),
    ("dataset", "origin", JSON),
    ("unit", "pending_at", MOMENT),
    ("worker_node", "unheard_since", MOMENT),
)


def upgrade() -> None:
    for table, name, kind in COLUMNS:
        op.add_column(table, sa.Column(name, kind, nullable=True))
    op.add_column("attempt", sa.Column("counted", sa.Integer(), server_default="0", nullable=False))
    uncounted = sa.text("counted < 2")
    op.create_index(
        "ix_attempt_uncounted",
        "attempt",
        ["counted", "ended_at"],
        sqlite_where=uncounted,
        postgresql_where=uncounted,
    )
    op.create_table(
        "tally",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("labels", sa.String(), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("name", "labels", name="pk_tally"),
    )


def downgrade() -> None:
    op.drop_table("tally")
    op.drop_index("ix_attempt_uncounted", "attempt")
    op.drop_column("attempt", "counted")
    for table, name, _ in reversed(COLUMNS):
        op.drop_column(table, name)
