"""Duties that come round again and again."""

import threading
import time
from collections.abc import Callable
from typing import Protocol

import structlog

log = structlog.get_logger(__name__)

Duty = tuple[float, str, Callable[[], object]]


class Watched(Protocol):
    """Who is told of each duty that was done."""

    def did(self, duty: str, *, seconds: float, well: bool) -> None:
        """Note how long a duty took, and whether it went well."""


def perform(
    duties: list[Duty],
    stop: threading.Event,
    *,
    watched: Watched | None = None,
    around: Callable[[], object] = lambda: None,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Do each duty every so many seconds until ``stop``; one that fails is logged and done again.

    Args:
        duties: how often, its name, and what to do.
        stop: ends it.
        watched: is told of each duty.
        around: is called each time all of them have been looked at.
        clock: tells the time.
    """
    due = [clock()] * len(duties)
    while not stop.is_set():
        for index, (seconds, name, duty) in enumerate(duties):
            if clock() >= due[index]:
                began = clock()
                due[index] = began + seconds
                well = _done(name, duty)
                if watched is not None:
                    watched.did(name, seconds=clock() - began, well=well)
        around()
        stop.wait(max(0.05, min(due) - clock()))


def _done(name: str, duty: Callable[[], object]) -> bool:
    """Do a duty; the others, and this one's next time, must not be lost with one that fails."""
    try:
        duty()
    except Exception:
        log.exception("duty_failed", duty=name)
        return False
    return True
