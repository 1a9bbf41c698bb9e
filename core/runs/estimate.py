"""What a job costs: disk and memory from known sizes, time from what its own units took; and what it took."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from core.models import UNIT_ENDED, Unit, UnitKind, UnitState
from spin_engine import footprint
from spin_engine.hyperparameters import Hyperparameters
from spin_engine.sizes import PipelineSize

FREE = frozenset({UnitKind.publish})  # copies files: seconds


def beforehand(
    size: PipelineSize, chosen: Hyperparameters, *, rows: int, dataset_bytes: int
) -> dict[str, int]:
    """Return what can be told before a job runs, from sizes alone.

    ``disk_bytes``: the dataset's shards, its encoding, the rivals, every checkpoint (weights and both
    moments of Adam), each iteration's weights, and the published model. Left out: previews, and the
    reference errors, which are small.
    ``memory_bytes_at_least``: what a training process holds of the denoiser: its weights, the trained values'
    gradients, moments and running mean, and the second copy of them that an online reference needs.
    Activations, which grow with batch and resolution, and the libraries themselves come on top.
    """
    kept = footprint.disk(size, chosen, rows=rows, keep=None)
    held = footprint.held(size, chosen)
    return {
        "disk_bytes": dataset_bytes + kept.total,
        "memory_bytes_at_least": held.between_steps + held.gradients,
    }


def taken(
    units: Sequence[Unit],
    manifests: Iterable[list[dict[str, Any]]],
    *,
    started: datetime | None,
    finished: datetime,
) -> dict[str, Any]:
    """Return what a job took that has ended: ``seconds``, ``disk_bytes``, ``memory_bytes``.

    Args:
        units: of the job.
        manifests: of its dataset and of its checkpoints; the units' own outputs are added.
        started: when its first unit was claimed.
        finished: when it ended.

    ``memory_bytes`` is the most that one process of a unit held of the host's memory; None when no unit
    ended well. An encoding that another job made counts as well: it lies in the store for this one too.
    """
    outputs = [unit.output for unit in units if unit.output is not None]
    files = {
        file["key"]: int(file["size"])
        for manifest in (*manifests, *(output["files"] for output in outputs))
        for file in manifest
    }
    peaks = [int(output["peak_memory_bytes"]) for output in outputs if output.get("peak_memory_bytes")]
    return {
        "seconds": None if started is None else round((finished - started).total_seconds(), 1),
        "disk_bytes": sum(files.values()),
        "memory_bytes": max(peaks, default=None),
    }


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
