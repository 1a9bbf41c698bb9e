"""what drawings gained: batches, deadlines, a word for those that were cancelled, what is seen of them early.

Expands only, but for the check of ``state``, which learns a word; going back, cancelled drawings are failed.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0011"
down_revision: str | None = "0010"

JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
MOMENT = sa.DateTime(timezone=True)
NO = sa.text("false")
CHECK = "ck_drawing_drawing_state"
BEFORE = ("pending", "running", "succeeded", "failed")
COLUMNS: tuple[tuple[str, Any, Any], ...] = (
    ("alias", sa.String(), None),
    ("batch_key", sa.String(), sa.text("''")),
    ("pictures", sa.Integer(), sa.text("1")),
    ("background", sa.Boolean(), NO),
    ("kept", sa.Boolean(), NO),
    ("partials", JSON, None),
    ("claimed_at", MOMENT, None),
    ("deadline_at", MOMENT, None),
    ("counted", sa.Boolean(), NO),
)
INDEXES = (
    ["state", "background", "created_at"],
    ["project_id", "id"],
    ["finished_at"],
    ["counted", "finished_at"],
)


def upgrade() -> None:
    _words((*BEFORE, "cancelled"))
    for name, kind, default in COLUMNS:
        column = sa.Column(name, kind, nullable=default is None, server_default=default)
        op.add_column("drawing", column)
    for names in INDEXES:
        op.create_index(f"ix_drawing_{'_'.join(names)}", "drawing", names)
    op.drop_index("ix_drawing_state_created_at", "drawing")
    op.drop_index("ix_drawing_project_id", "drawing")
    # Who had asked for these waited for no longer than this process ran.
    op.execute("UPDATE drawing SET deadline_at = created_at WHERE state IN ('pending', 'running')")


def downgrade() -> None:
    op.execute("UPDATE drawing SET state = 'failed' WHERE state = 'cancelled'")
    op.create_index("ix_drawing_project_id", "drawing", ["project_id"])
    op.create_index("ix_drawing_state_created_at", "drawing", ["state", "created_at"])
    for names in INDEXES:
        op.drop_index(f"ix_drawing_{'_'.join(names)}", "drawing")
    for name, _, _ in reversed(COLUMNS):
        op.drop_column("drawing", name)
    _words(BEFORE)


def _words(words: tuple[str, ...]) -> None:
    """Let ``state`` hold these words. SQLite's tables are made anew for that, without checks of before."""
    condition = f"state IN ({', '.join(repr(word) for word in words)})"
    with op.batch_alter_table("drawing") as table:
        if op.get_bind().dialect.name != "sqlite":
            table.drop_constraint(op.f(CHECK), type_="check")
        table.create_check_constraint(op.f(CHECK), condition)
