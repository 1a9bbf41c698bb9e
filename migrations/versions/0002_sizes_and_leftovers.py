"""sizes of base models, and when an ended unit's leftovers were cleared away.

Expands only: older code leaves both columns empty.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0002"
down_revision: str | None = "0001"

JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")


def upgrade() -> None:
    op.add_column("model", sa.Column("size", JSON, nullable=True))
    op.add_column("unit", sa.Column("cleared_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index("ix_unit_cleared_at_finished_at", "unit", ["cleared_at", "finished_at"])


def downgrade() -> None:
    op.drop_index("ix_unit_cleared_at_finished_at", "unit")
    op.drop_column("unit", "cleared_at")
    op.drop_column("model", "size")
