"""what units need and workers have, queues, limits of projects, fair shares, preemption.

Expands only: older code leaves the columns at their defaults, and the claim fills in a unit's project
(core.runs.candidates) where older code wrote the row.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0003"
down_revision: str | None = "0002"

JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
NONE = sa.text("0")


def columns() -> dict[str, list[sa.Column]]:
    """Return the new columns of each table."""
    return {
        "unit": [
            sa.Column("rank", sa.Integer(), nullable=False, server_default=NONE),
            sa.Column("project_id", sa.String(), nullable=True),
            sa.Column("queue", sa.String(), nullable=False, server_default="default"),
            device(),
            sa.Column("memory_bytes", sa.BigInteger(), nullable=False, server_default=NONE),
            sa.Column("alike", sa.Integer(), nullable=False, server_default=NONE),
            sa.Column("avoid", sa.String(), nullable=True),
            sa.Column("avoid_until", sa.DateTime(timezone=True), nullable=True),
            sa.Column("yield_to", sa.String(), nullable=True),
            sa.Column("micro_batch", sa.Integer(), nullable=True),
        ],
        "job": [
            sa.Column("rank", sa.Integer(), nullable=False, server_default=NONE),
            sa.Column("queue", sa.String(), nullable=False, server_default="default"),
            device(),
            sa.Column("reserved_gpu_seconds", sa.Double(), nullable=True),
        ],
        "attempt": [sa.Column("gpus", sa.Integer(), nullable=False, server_default=NONE)],
        "project": [
            sa.Column("max_running", sa.Integer(), nullable=True),
            sa.Column("max_jobs", sa.Integer(), nullable=True),
            sa.Column("gpu_seconds_limit", sa.Double(), nullable=True),
            sa.Column("gpu_seconds_reserved", sa.Double(), nullable=False, server_default=NONE),
            sa.Column("gpu_seconds_used", sa.Double(), nullable=False, server_default=NONE),
            sa.Column("open_jobs", sa.Integer(), nullable=False, server_default=NONE),
            sa.Column("share", sa.Double(), nullable=True),
        ],
        "worker_node": [
            sa.Column("kinds", JSON, nullable=True),
            sa.Column("queues", JSON, nullable=True),
            device(),
            sa.Column("gpus", sa.Integer(), nullable=False, server_default=NONE),
            sa.Column("memory_bytes", sa.BigInteger(), nullable=True),
        ],
    }


def device() -> sa.Column:
    # The words are checked by the models alone: SQLite adds no constraint to a table that is there.
    return sa.Column("device", sa.String(32), nullable=False, server_default="cpu")


INDEXES = {
    "ix_unit_state_project_id_queue_kind_rank_job_id_position_id": (
        "unit",
        ["state", "project_id", "queue", "kind", "rank", "job_id", "position", "id"],
    ),
    "ix_job_state_rank_id": ("job", ["state", "rank", "id"]),
}
FILL = """
UPDATE job SET rank = -priority, reserved_gpu_seconds = 0
WHERE state IN ('validating_files', 'queued', 'running', 'paused');
UPDATE unit SET rank = -priority, project_id = coalesce(
    (SELECT project_id FROM job WHERE job.id = unit.job_id),
    (SELECT project_id FROM dataset WHERE dataset.id = unit.dataset_id)
) WHERE state IN ('waiting', 'pending', 'running');
UPDATE project SET open_jobs = (
    SELECT count(*) FROM job WHERE job.project_id = project.id
    AND job.state IN ('validating_files', 'queued', 'running', 'paused')
);
"""


def upgrade() -> None:
    for table, added in columns().items():
        for column in added:
            op.add_column(table, column)
    for statement in FILL.split(";")[:-1]:
        op.execute(statement)
    for name, (table, names) in INDEXES.items():
        op.create_index(name, table, names)


def downgrade() -> None:
    for name, (table, _) in INDEXES.items():
        op.drop_index(name, table)
    for table, added in columns().items():
        for column in reversed(added):
            op.drop_column(table, column.name)
