"""How much of a job is done, by the units it has."""

from collections.abc import Sequence

from core.models import Unit, UnitKind, UnitState

WEIGHTS = {
    UnitKind.encode: 0.5,
    UnitKind.generate: 2.0,
    UnitKind.train: 10.0,
    UnitKind.evaluate: 1.0,
    UnitKind.publish: 0.3,
}
"""What each stage of an iteration counts; its shards share that."""


def share_done(units: Sequence[Unit]) -> float:
    """Return how much of the work is done, from 0 to 1. By hand: encode done, half of train: 5.5 of 10.5."""
    total = done = 0.0
    for unit in units:
        weight = WEIGHTS.get(unit.kind, 1.0) / max(1, unit.shards)
        total += weight
        if unit.state is UnitState.succeeded:
            done += weight
        elif unit.state is UnitState.running and unit.progress is not None:
            done += weight * min(1.0, unit.progress.get("step", 0) / max(1, unit.progress.get("of") or 1))
    return done / total if total else 0.0
