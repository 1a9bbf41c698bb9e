"""how a file becomes a dataset, its two parts, and what is told of its pictures.

Expands only: older code leaves the columns empty, which means one whole dataset as before.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0007"
down_revision: str | None = "0006"

JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
COLUMNS = (
    ("options", JSON),
    ("part", sa.String()),
    ("sibling_id", sa.String()),
    ("rejections", JSON),
    ("fingerprints", JSON),
)


def upgrade() -> None:
    for name, kind in COLUMNS:
        op.add_column("dataset", sa.Column(name, kind, nullable=True))


def downgrade() -> None:
    for name, _ in reversed(COLUMNS):
        op.drop_column("dataset", name)
