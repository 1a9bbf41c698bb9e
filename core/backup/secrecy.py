"""A backup without secrets: what opens or signs anything is not in it."""

from core.backup.tables import Row
from core.clock import utcnow

HOLDERS = frozenset({"former_secret", "idempotency"})
"""Tables that hold little else: digests of keys, and answers as they were given."""


def without_secrets(table: str, row: Row) -> Row | None:
    """Return a row without its secrets: keys are revoked, endpoints have none; None where nothing is left."""
    if table in HOLDERS:
        return None
    if table == "api_key":
        return row | {
            "prefix": None,
            "sha256": f"left out: {row['id']}",
            "revoked_at": row["revoked_at"] or utcnow(),
        }
    if table == "webhook_endpoint":
        return row | {"secret": "", "old_secret": None, "old_secret_until": None}
    return row
