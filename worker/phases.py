"""Phases that a child tells of become spans: the child knows no collector, and reads what users give."""

import time
from typing import Any

import structlog

from core.tracing import note_span
from worker.child import Line

log = structlog.get_logger(__name__)

LONGEST_NAME = 40
MOST_TOLD = 10
TAKEN = ("name", "began", "ended", "inside")  # what core.tracing.note_span is called with


def note(line: Line) -> None:
    """Add a phase to the present span; what is no phase is dropped, with a warning."""
    name, began, ended, told = (line.get(key) for key in ("name", "began", "ended", "told"))
    if not (isinstance(name, str) and isinstance(began, int) and isinstance(ended, int)):
        log.warning("child_told_no_phase")
        return
    now = time.time_ns()
    if not 0 < began <= ended <= now + 1_000_000_000:
        log.warning("child_told_impossible_times", phase=name[:LONGEST_NAME])
        return
    note_span(name[:LONGEST_NAME], began=began, ended=ended, **_plain(told))


def _plain(told: object) -> dict[str, Any]:
    """Return the few plain values among what was told."""
    if not isinstance(told, dict):
        return {}
    kept = [
        (key, value[:200] if isinstance(value, str) else value)
        for key, value in told.items()
        if isinstance(key, str)
        and key.isidentifier()
        and key not in TAKEN
        and isinstance(value, int | float | str)
    ]
    return dict(kept[:MOST_TOLD])
