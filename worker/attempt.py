"""One worker's attempt at one unit or drawing: writes and uploads that insist while the claim is held."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import structlog
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from core.db import transaction
from core.errors import StoreUnavailable
from core.storage.objects import Stored
from worker.lease import Lease, Order
from worker.workplace import Workplace

log = structlog.get_logger(__name__)

T = TypeVar("T")
ClaimT = TypeVar("ClaimT")
LONGEST_WAIT = 5.0


@dataclass(frozen=True)
class Attempt(Generic[ClaimT]):
    """A claim, where it is worked on, and the lease that holds it."""

    place: Workplace
    claim: ClaimT
    lease: Lease
    scratch: Path

    def write(self, work: Callable[[Session, ClaimT], T]) -> T:
        """Run one transaction; again, while the database cannot be reached and the lease is not lost."""

        def once() -> T:
            with transaction(self.place.database) as session:
                return work(session, self.claim)

        return self._insist(once)

    def put(self, key: str, file: Path) -> Stored:
        """Upload one file; again, while the store cannot be reached and the lease is not lost."""
        return self._insist(lambda: self.place.store.put_file(key, file))

    def _insist(self, once: Callable[[], T]) -> T:
        wait = 0.2
        while True:
            try:
                return once()
            except (OperationalError, StoreUnavailable) as error:
                if self.lease.order is Order.lost:
                    raise
                log.warning("attempt_waits", error=type(error).__name__, seconds=wait)
                time.sleep(wait)
                wait = min(2 * wait, LONGEST_WAIT)
