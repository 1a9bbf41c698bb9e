"""seats of gangs, and how many workers train together.

Expands only: older code does not know the table, and its workers train alone.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0014"
down_revision: str | None = "0013"

JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column(
        "worker_node", sa.Column("nodes", sa.Integer(), nullable=False, server_default=sa.text("1"))
    )
    words = ("open", "taken", "ready", "done", "stopped", "failed")
    state = sa.Enum(*words, name="seat_state", native_enum=False, create_constraint=True, length=32)
    op.create_table(
        "gang_seat",
        sa.Column("unit_id", sa.String(), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("nodes", sa.Integer(), nullable=False),
        sa.Column("state", state, nullable=False),
        sa.Column("turn", sa.Integer(), nullable=False),
        sa.Column("worker", sa.String(), nullable=True),
        sa.Column("lease_expires_at", MOMENT, nullable=True),
        sa.Column("address", sa.String(), nullable=True),
        sa.Column("port", sa.Integer(), nullable=True),
        sa.Column("processes", sa.Integer(), nullable=False),
        sa.Column("gpus", sa.Integer(), nullable=False),
        sa.Column("failure", JSON, nullable=True),
        sa.Column("began_at", MOMENT, nullable=False),
        sa.Column("opened_at", MOMENT, nullable=False),
        sa.Column("met_at", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(["unit_id"], ["unit.id"], name="fk_gang_seat_unit_id_unit"),
        sa.PrimaryKeyConstraint("unit_id", "fence", "rank", name="pk_gang_seat"),
    )
    for names in (["state", "nodes"], ["worker"]):
        op.create_index(f"ix_gang_seat_{'_'.join(names)}", "gang_seat", names)


def downgrade() -> None:
    op.drop_table("gang_seat")
    op.drop_column("worker_node", "nodes")
