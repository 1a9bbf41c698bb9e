"""The supervisor's thread that keeps a claim alive, and tells the child what is wished of it.

The database is asked for wishes twice a second and for a renewal every third of the lease. What it answers
becomes an order, and an order becomes a signal to the child's group: TERM to stop at a checkpoint (pause,
shutdown), KILL for the rest. When the database cannot be reached for a whole lease the claim counts as lost:
another worker may hold it by then.
"""

import threading
import time
from collections.abc import Callable
from contextvars import copy_context
from enum import IntEnum
from types import TracebackType
from typing import Protocol, Self

import structlog

log = structlog.get_logger(__name__)

TICK = 0.1
WISHES_EVERY = 0.5


class Order(IntEnum):
    """What the child has to do; a graver order replaces a milder one, never the other way."""

    go_on = 0
    stop = 1  # at a checkpoint: paused, or this worker shuts down
    timeout = 2
    broken = 3  # another of its gang failed, or was lost
    cancel = 4
    lost = 5


class Obeying(Protocol):
    """What an order is carried out on."""

    def terminate(self) -> None:
        """Ask it to stop at a checkpoint."""

    def kill(self) -> None:
        """End it now."""


class Lease:
    """Holds a claim while the ``with`` block runs.

    Args:
        renew: extends the lease; False when the claim is no longer ours.
        wish: what the user wishes now; ``Order.go_on`` when nothing.
        seconds: length of the lease.
        draining: set when this worker has to stop.
        grace: seconds a child has to write its checkpoint before it is killed.
    """

    def __init__(
        self,
        *,
        renew: Callable[[], bool],
        wish: Callable[[], Order],
        seconds: float,
        draining: threading.Event,
        grace: float,
    ) -> None:
        self._renew, self._wish, self._seconds, self._draining, self._grace = (
            renew,
            wish,
            seconds,
            draining,
            grace,
        )
        self._child: Obeying | None = None
        self._kill_at: float | None = None
        self._guard = threading.RLock()
        self._over = threading.Event()
        # In a copy of this context, so that its log lines name the unit as those of the supervisor do.
        self._thread = threading.Thread(
            target=copy_context().run, args=(self._keep,), name="lease", daemon=True
        )
        self.order = Order.go_on

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def guard(self, child: Obeying) -> None:
        """Carry out orders on this child from now on, beginning with one that has come already."""
        with self._guard:
            self._child = child
            self._obey()

    def give(self, order: Order) -> None:
        """Give an order, unless a graver one stands."""
        with self._guard:
            if order > self.order:
                log.info("unit_ordered", order=order.name)
                self.order = order
                self._obey()

    def _obey(self) -> None:
        if self._child is None or self.order is Order.go_on:
            return
        if self.order is Order.stop:
            self._kill_at = time.monotonic() + self._grace
            self._child.terminate()
        else:
            self._child.kill()

    def _keep(self) -> None:
        renewed = asked = time.monotonic()
        while not self._over.wait(TICK):
            now = time.monotonic()
            if self._draining.is_set():
                self.give(Order.stop)
            try:
                if now - asked >= WISHES_EVERY:
                    asked = now
                    self.give(self._wish())
                if now - renewed >= self._seconds / 3:
                    if not self._renew():
                        self.give(Order.lost)
                        return
                    renewed = now
            except Exception:  # whatever it is: a claim that cannot be proven ends by itself
                log.warning("lease_not_renewed", exc_info=True)
                if time.monotonic() - renewed > self._seconds:
                    self.give(Order.lost)
                    return
            with self._guard:
                if self._kill_at is not None and now >= self._kill_at and self._child is not None:
                    log.warning("unit_killed_after_grace", seconds=self._grace)
                    self._kill_at = None
                    self._child.kill()
