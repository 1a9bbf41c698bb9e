"""what a job keeps of its checkpoints.

Expands only: older code leaves the column empty, which means the platform's setting.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0005"
down_revision: str | None = "0004"

JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")


def upgrade() -> None:
    op.add_column("job", sa.Column("retention", JSON, nullable=True))


def downgrade() -> None:
    op.drop_column("job", "retention")
