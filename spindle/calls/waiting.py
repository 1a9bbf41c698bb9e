"""Waiting, by looking again and again."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from spindle.call import Call, Pause, Plan
from spindle.errors import WaitedTooLongError

T = TypeVar("T")


def until(look: Call[T], ended: Callable[[T], bool], *, timeout: float | None, poll: float) -> Plan[T]:
    """Look until it has ended, and return what was seen last.

    Raises:
        WaitedTooLongError: it had not ended after ``timeout`` seconds.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    while True:
        found: T = yield replace(look)
        if ended(found):
            return found
        if deadline is not None and time.monotonic() + poll > deadline:
            raise WaitedTooLongError(
                f"{look.path.rpartition('/')[2]} had not come to its end after {timeout:g} s; it goes on."
            )
        yield Pause(poll)
