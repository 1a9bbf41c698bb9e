"""Counters of pictures, added up by the beat as those of attempts are (core.tallies)."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from core.db import Database, transaction
from core.models import DRAWING_ENDED, Drawing, DrawingState
from core.runs.lifecycle import QUIETLY
from core.tallies import BATCH, Counts, add, seconds_between, write

SECONDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
KINDS = ("background", "interactive")
TOGETHER = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)


def count_drawings(database: Database) -> int:
    """Count what has ended since the last time; return how many drawings that were."""
    done, found = 0, BATCH
    while found == BATCH:
        with transaction(database) as session:
            found = _count(session)
        done += found
    return done


def _count(session: Session) -> int:
    some = select(Drawing.id).where(Drawing.counted.is_(False), Drawing.state.in_(DRAWING_ENDED)).limit(BATCH)
    ended = session.scalars(
        update(Drawing)
        .where(Drawing.id.in_(some), Drawing.counted.is_(False))
        .values(counted=True)
        .returning(Drawing)
        .execution_options(**QUIETLY)
    ).all()
    counts: Counts = Counter()
    for drawing in ended:
        add(counts, "pictures", drawing.pictures, outcome=_outcome(drawing))
        if drawing.state is DrawingState.succeeded:
            _measure(counts, drawing)
    if counts:
        write(session, counts)
    return len(ended)


def _outcome(drawing: Drawing) -> str:
    return str((drawing.failure or {}).get("reason") or drawing.state.value)


def _measure(counts: Counts, drawing: Drawing) -> None:
    assert drawing.finished_at is not None, "it has ended"
    together = float((drawing.result or {}).get("together") or 1)
    spans = {
        "drawing_seconds": seconds_between(drawing.created_at, drawing.finished_at),
        "drawing_wait_seconds": seconds_between(
            drawing.created_at, drawing.claimed_at or drawing.finished_at
        ),
    }
    kind = "background" if drawing.background else "interactive"
    for name, value in spans.items():
        _spread(counts, name, SECONDS, value, kind=kind)
    _spread(counts, "drawing_batch_pictures", TOGETHER, together, kind=kind)


def _spread(counts: Counts, name: str, bounds: Sequence[float], value: float, **labels: str) -> None:
    """Count a value into its bucket of a histogram, and into its sum."""
    index = bisect_left(bounds, value)
    bound = f"{bounds[index]:g}" if index < len(bounds) else "+Inf"
    add(counts, name, 1.0, **labels | {"le": bound})
    add(counts, f"{name}_sum", value, **labels)
