"""What to do next: pure functions from what is known to what should be. No database, no clock."""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field

from core.models.states import UNIT_ENDED, JobState, UnitKind, UnitState

EVALUATE_BASE = -1


@dataclass(frozen=True)
class PlannedUnit:
    """One unit of a plan; ``needs`` are names of units that must have succeeded before."""

    name: str
    kind: UnitKind
    iteration: int
    needs: tuple[str, ...]
    shard: int = 0
    shards: int = 1


@dataclass(frozen=True)
class UnitView:
    """What the planner needs to know of a unit."""

    id: str
    kind: UnitKind
    state: UnitState
    needs: tuple[str, ...]


@dataclass(frozen=True)
class Transitions:
    """What should change: these units may start, these never will, and the job may have ended."""

    ready: tuple[str, ...] = ()
    cancel: tuple[str, ...] = ()
    job: JobState | None = None
    culprit: str | None = field(default=None)
    """The unit that failed the job."""


def shards_of(rows: int, *, shard_rows: int, max_shards: int) -> int:
    """Return in how many units rows are worked on: one for ``shard_rows`` each, at most ``max_shards``."""
    return max(1, min(max_shards, -(-rows // shard_rows)))


def plan_job(
    iterations: Sequence[int], *, generates: Set[int], shards: int, encode_shards: int = 1
) -> list[PlannedUnit]:
    """Return the units of a job in the order in which one worker alone would do them.

    ``encode`` x shards -> ``evaluate`` of the base (iteration -1) -> for each iteration ``generate`` x shards
    -> ``train`` -> ``evaluate``, and ``publish`` after the last ``train``. Nothing needs an ``evaluate``.

    Args:
        iterations: the iterations in order (``method.hyperparameters.iterations``).
        generates: those whose training needs rivals, or what a reference says of them.
        shards: into how many units each iteration's rivals are divided.
        encode_shards: into how many units the data are divided.
    """
    plan = [
        PlannedUnit(
            f"encode 0.{shard}" if encode_shards > 1 else "encode",
            UnitKind.encode,
            0,
            (),
            shard,
            encode_shards,
        )
        for shard in range(encode_shards)
    ]
    encoded = tuple(unit.name for unit in plan)
    plan.append(PlannedUnit("evaluate base", UnitKind.evaluate, EVALUATE_BASE, encoded))
    before: tuple[str, ...] = encoded
    last = iterations[-1]
    for k in iterations:
        rivals = []
        if k in generates:
            rivals = [
                PlannedUnit(f"generate {k}.{shard}", UnitKind.generate, k, before, shard, shards)
                for shard in range(shards)
            ]
        needs = tuple(dict.fromkeys((*encoded, *before, *(unit.name for unit in rivals))))
        train = PlannedUnit(f"train {k}", UnitKind.train, k, needs)
        plan += [*rivals, train]
        if k == last:
            plan.append(PlannedUnit("publish", UnitKind.publish, k, (train.name,)))
        plan.append(PlannedUnit(f"evaluate {k}", UnitKind.evaluate, k, (train.name,)))
        before = (*encoded, train.name)
    return plan


def advance(units: Iterable[UnitView], *, cancelling: bool = False) -> Transitions:
    """Return what follows from the states of a job's units.

    A unit may start when all it needs has succeeded. A failed unit fails the job at once, and what still
    runs of it is called off; but a failed ``evaluate`` costs no model: the job goes on without its numbers.
    A cancelled job ends when nothing of it runs any more. A job has succeeded when all its units have
    ended.
    """
    known = {unit.id: unit for unit in units}
    fatal = next(
        (
            unit.id
            for unit in known.values()
            if unit.state is UnitState.failed and unit.kind is not UnitKind.evaluate
        ),
        None,
    )
    idle = tuple(unit.id for unit in known.values() if unit.state in (UnitState.waiting, UnitState.pending))
    running = tuple(unit.id for unit in known.values() if unit.state is UnitState.running)
    if fatal is not None:
        return Transitions(cancel=(*idle, *running), job=JobState.failed, culprit=fatal)
    ended = bool(known) and all(unit.state in UNIT_ENDED for unit in known.values())
    if ended and all(unit.state is not UnitState.cancelled for unit in known.values()):
        return Transitions(job=JobState.succeeded)  # also when the wish to cancel came too late
    if cancelling:
        return Transitions(cancel=idle, job=None if running else JobState.cancelled)
    ready = tuple(
        unit.id for unit in known.values() if unit.state is UnitState.waiting and _may_start(unit, known)
    )
    return Transitions(ready=ready)


def _may_start(unit: UnitView, known: Mapping[str, UnitView]) -> bool:
    return all(known[need].state is UnitState.succeeded for need in unit.needs)


def retry_after(failures: int, *, seconds: float) -> float:
    """Return the wait after so many failures: ``seconds``, then four times longer each, at most 600."""
    return float(min(600.0, seconds * 4 ** max(0, failures - 1)))
