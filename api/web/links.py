"""Addresses on pages: of pictures in the store, the same for a while, and of things by their ids."""

import time
from functools import lru_cache
from typing import Any

from core.storage.store import ObjectStore

WINDOW_SECONDS = 3600
PAGES = {"ftjob-": "/jobs/", "ds-": "/datasets/", "wh-": "/webhooks/", "cmp-": "/comparisons/"}


def steady_url(store: ObjectStore, key: str) -> str:
    """Return a signed address that is the same for an hour, so that a page that lives exchanges nothing."""
    one: Any = store  # made once a process, and told from others by being itself
    return _signed(one, key, int(time.time()) // WINDOW_SECONDS)


@lru_cache(maxsize=4096)
def _signed(store: ObjectStore, key: str, _window: int) -> str:
    return store.signed_url(key, 2 * WINDOW_SECONDS)


def page_of(object_id: str | None) -> str | None:
    """Return where a thing is looked at; None when it has no page of its own."""
    return next(
        (f"{path}{object_id}" for kind, path in PAGES.items() if (object_id or "").startswith(kind)), None
    )
