"""What a unit does, told as spans of time to a supervisor, which may know a collector of traces."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from spin_engine.reporter import Line, Reporter


@contextmanager
def phase(reporter: Reporter, name: str, **told: Any) -> Iterator[None]:
    """Tell how long something took: one line when it is over, whether it went well or not.

    Meant for what takes long or comes seldom: no step has a phase of its own.

    Args:
        reporter: hears of it.
        name: what is done.
        told: numbers and words about it.
    """
    began = time.time_ns()
    try:
        yield
    finally:
        reporter.send(span_line(name, began, **told))


def span_line(name: str, began: int, **told: Any) -> Line:
    """Return the line of a phase that is over; times are in nanoseconds since 1970."""
    return {"type": "span", "name": name, "began": began, "ended": time.time_ns(), "told": told}


class Stretch:
    """Steps up to a checkpoint, told as one phase, and the checkpoint as another."""

    def __init__(self, reporter: Reporter, done: int) -> None:
        """Begin after ``done`` steps."""
        self._reporter = reporter
        self._first = done
        self._began = time.time_ns()

    @contextmanager
    def checkpoint(self, done: int) -> Iterator[None]:
        """Surround the writing of a checkpoint after ``done`` steps; the next stretch begins behind it."""
        self._reporter.send(span_line("steps", self._began, first=self._first, last=done))
        with phase(self._reporter, "checkpoint", step=done):
            yield
        self._first, self._began = done, time.time_ns()
