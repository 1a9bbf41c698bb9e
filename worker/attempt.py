"""One worker's attempt at one unit or drawing: writes and uploads insist while the claim is held."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import structlog
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
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
LAST_WORDS_SECONDS = 30.0  # what a worker that has to stop may still wait for
AWAY = (OperationalError, InterfaceError, PoolTimeout, StoreUnavailable)


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

        return self._insist(once, until=Order.lost)

    def put(self, key: str, file: Path) -> Stored:
        """Upload one file; again, while the store cannot be reached and the work is still wanted."""
        return self._insist(lambda: self.place.store.put_file(key, file), until=Order.timeout)

    def _insist(self, once: Callable[[], T], *, until: Order) -> T:
        return insist(once, order=lambda: self.lease.order, until=until)


def insist(once: Callable[[], T], *, order: Callable[[], Order], until: Order) -> T:
    """Do something; again, while database or store cannot be reached and no order so grave has come."""
    wait = 0.2
    stopping: float | None = None
    while True:
        try:
            return once()
        except AWAY as error:
            if order() >= until:
                raise
            if order() is Order.stop:
                stopping = stopping or time.monotonic()
                if time.monotonic() - stopping > LAST_WORDS_SECONDS:
                    raise
            log.warning("attempt_waits", error=type(error).__name__, seconds=wait)
            time.sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT)
