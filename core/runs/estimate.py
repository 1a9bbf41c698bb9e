"""How long a job still takes, from what its own units took."""

from collections.abc import Sequence

from core.models import UNIT_ENDED, Unit, UnitKind, UnitState
from spin_engine.hyperparameters import Hyperparameters

FREE = frozenset({UnitKind.publish})  # copies files: seconds


def seconds_left(units: Sequence[Unit], hyperparameters: Hyperparameters) -> float | None:
    """Return the seconds of work left for one worker; None while a kind of unit was never seen at work.

    A unit takes as long for each of its steps (optimiser steps for ``train``, else one) as those of its
    kind that have ended took, or as the one that runs is taking.
    """
    paces: dict[UnitKind, list[float]] = {}
    for unit in units:
        seconds = _seconds(unit)
        if seconds is not None:
            paces.setdefault(unit.kind, []).append(seconds / _steps(unit, hyperparameters))
    left = 0.0
    for unit in units:
        if unit.state in UNIT_ENDED or unit.kind in FREE:
            continue
        if unit.state is UnitState.running and unit.progress is not None:
            left += unit.progress.get("seconds_left") or 0.0
        elif unit.kind in paces:
            pace = sum(paces[unit.kind]) / len(paces[unit.kind])
            left += pace * _steps(unit, hyperparameters)
        else:
            return None
    return left if units else None


def _seconds(unit: Unit) -> float | None:
    """Return what a unit took, or what it will have taken."""
    if unit.state is UnitState.succeeded and unit.started_at is not None and unit.finished_at is not None:
        took: float = (unit.finished_at - unit.started_at).total_seconds()
        return took
    progress = unit.progress or {}
    step, of, left = progress.get("step"), progress.get("of"), progress.get("seconds_left")
    if unit.state is UnitState.running and step and of and left is not None and of > step:
        return float(left * of / (of - step))
    return None


def _steps(unit: Unit, hyperparameters: Hyperparameters) -> int:
    return hyperparameters.for_iteration(unit.iteration).steps if unit.kind is UnitKind.train else 1
