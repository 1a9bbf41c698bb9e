"""uploads in parts, bytes that files share, limits of stored bytes.

Expands only: older code leaves the columns at their defaults, and files that it makes are purged as before.
It does not know that twins share their bytes, though, and would delete them with the first: files should not
be deleted while api processes of both versions run, nor after a downgrade.
"""

import sqlalchemy as sa
from alembic import op

revision: str = "0006"
down_revision: str | None = "0005"

NONE = sa.text("0")
STATES = sa.Enum(
    "pending",
    "completing",
    "completed",
    "cancelled",
    "expired",
    name="upload_state",
    native_enum=False,
    create_constraint=True,
    length=32,
)
# Of twins that are there already only the first can be shared: the others keep their own bytes.
FILL = """
INSERT INTO blob (key, project_id, sha256, bytes, files)
SELECT key, project_id, CASE WHEN place = 1 THEN sha256 END, bytes, 1 FROM (
    SELECT key, project_id, sha256, bytes,
           row_number() OVER (PARTITION BY project_id, sha256 ORDER BY id) AS place
    FROM file WHERE deleted_at IS NULL AND key != ''
) AS held;
UPDATE project SET stored_bytes = coalesce(
    (SELECT sum(bytes) FROM blob WHERE blob.project_id = project.id), 0
);
"""


def upgrade() -> None:
    op.add_column("project", sa.Column("max_bytes", sa.BigInteger(), nullable=True))
    op.add_column("project", sa.Column("stored_bytes", sa.BigInteger(), nullable=False, server_default=NONE))
    op.add_column("file", sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index("ix_file_expires_at", "file", ["expires_at"])
    op.create_table(
        "blob",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=True),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("files", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name="fk_blob_project_id_project"),
        sa.PrimaryKeyConstraint("key", name="pk_blob"),
        sa.UniqueConstraint("project_id", "sha256", name="uq_blob_project_id_sha256"),
    )
    upload()
    upload_part()
    for statement in FILL.split(";")[:-1]:
        op.execute(statement)


def upload() -> None:
    op.create_table(
        "upload",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("filename", sa.String(), nullable=False),
        sa.Column("purpose", sa.String(), nullable=False),
        sa.Column("mime_type", sa.String(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("received_bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=True),
        sa.Column("part_bytes", sa.BigInteger(), nullable=True),
        sa.Column("keep_seconds", sa.Integer(), nullable=True),
        sa.Column("state", STATES, nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("lease_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("file_id", sa.String(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("cleared_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["file_id"], ["file.id"], name="fk_upload_file_id_file"),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name="fk_upload_project_id_project"),
        sa.PrimaryKeyConstraint("id", name="pk_upload"),
    )
    op.create_index("ix_upload_project_id", "upload", ["project_id"])
    op.create_index("ix_upload_state_expires_at", "upload", ["state", "expires_at"])
    op.create_index("ix_upload_cleared_at", "upload", ["cleared_at"])


def upload_part() -> None:
    op.create_table(
        "upload_part",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("upload_id", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=True),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=True),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["upload_id"], ["upload.id"], name="fk_upload_part_upload_id_upload"),
        sa.PrimaryKeyConstraint("id", name="pk_upload_part"),
    )
    op.create_index("ix_upload_part_upload_id", "upload_part", ["upload_id"])


def downgrade() -> None:
    """Remove them. The parts of unfinished uploads stay in the store, under ``uploads/``."""
    for table in ("upload_part", "upload", "blob"):
        op.drop_table(table)
    op.drop_index("ix_file_expires_at", "file")
    op.drop_column("file", "expires_at")
    op.drop_column("project", "stored_bytes")
    op.drop_column("project", "max_bytes")
