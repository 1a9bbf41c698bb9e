"""``/v1/keys``, ``/v1/project`` and ``/v1/audit``."""

from collections.abc import Sequence

from spindle import results
from spindle.call import Call, Listing, known, post
from spindle.call import delete as _delete
from spindle.call import get as _get

PATH = "/v1/keys"


def create(
    name: str, *, scopes: Sequence[str] | None = None, expires_at: int | None = None
) -> Call[results.Key]:
    """Make a key; its secret is told this once.

    Args:
        name: what it is for.
        scopes: what it may do: ``read``, ``train``, ``serve``, ``admin``; None: all but admin.
        expires_at: unix seconds from which it no longer works.
    """
    told = {"name": name, "scopes": None if scopes is None else list(scopes), "expires_at": expires_at}
    return post(results.Key, PATH, known(told))


def get(key_id: str) -> Call[results.Key]:
    """Return a key, without its secret."""
    return _get(results.Key, f"{PATH}/{key_id}")


def list_(*, limit: int | None = None) -> Listing[results.Key]:
    """Yield keys, newest first, without their secrets."""
    return Listing(results.Key, PATH, limit)


def rotate(key_id: str, *, grace_seconds: int | None = None) -> Call[results.Key]:
    """Give a key a new secret, which is told this once; the one before works for a while (None: a day)."""
    return post(results.Key, f"{PATH}/{key_id}/rotate", known({"grace_seconds": grace_seconds}))


def revoke(key_id: str) -> Call[results.Deleted]:
    """Revoke a key; it stops working at once."""
    return _delete(f"{PATH}/{key_id}")


def project() -> Call[results.Project]:
    """Return the key's project: its limits, and what it uses of them."""
    return _get(results.Project, "/v1/project")


def audit(
    *, limit: int | None = None, key_id: str | None = None, object_id: str | None = None
) -> Listing[results.AuditEntry]:
    """Yield what the project's keys changed or were denied, newest first.

    Args:
        limit: how many at most.
        key_id: only what this key did.
        object_id: only what was done to this object.
    """
    wanted = {"key_id": key_id, "object_id": object_id}
    return Listing(results.AuditEntry, "/v1/audit", limit, params=wanted)
