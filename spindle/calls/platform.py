"""``/v1/workers`` and ``/v1/queue``."""

from spindle import work
from spindle.call import Call, Listing
from spindle.call import get as _get


def workers(*, limit: int | None = None) -> Listing[work.Worker]:
    """Yield the workers that were seen in the last week, by name."""
    return Listing(work.Worker, "/v1/workers", limit)


def queue(*, limit: int | None = None) -> Call[work.Queue]:
    """Return what is at work for the project and what waits.

    Args:
        limit: how many at most of each kind that waits; None: twenty.
    """
    return _get(work.Queue, "/v1/queue", limit=limit)
