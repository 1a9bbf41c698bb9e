"""A unit of a job in the engine's process, or processes: how it starts, and what it leaves."""

from core.models import UnitKind
from core.runs import units
from core.runs.claims import Claim
from core.sources import Work, work_for
from spin_engine.packages import versions
from worker import gang, records
from worker.attempt import Attempt
from worker.child import Child, Ending, environment
from worker.launching import alone, launched
from worker.lease import Order
from worker.prepare import prepare
from worker.warm import ENGINE


def start(attempt: Attempt[Claim]) -> Child:
    """Stage what the unit reads and start it.

    Raises:
        Interrupted: an order came meanwhile.
        gang.Apart: it is for several workers, and they did not come together.
    """
    claim, place = attempt.claim, attempt.place
    place.warm.begin()  # it imports while inputs are fetched
    work: Work = attempt.write(lambda session, claim: work_for(session, unit_id=claim.unit_id))
    spec, path = prepare(
        attempt,
        work,
        kind=claim.kind,
        iteration=claim.iteration,
        shard=claim.shard,
        shards=claim.shards,
    )
    if claim.nodes > 1:
        return gang.lead(attempt, path)
    trains = claim.kind is UnitKind.train
    processes = place.team.processes_for(spec.method.hyperparameters) if trains else 1
    if processes > 1:
        return launched(attempt, path, alone(place.team.free_port(), processes), processes=processes)

    def go_on() -> bool:
        return attempt.lease.order is Order.go_on

    return Child(
        [*ENGINE, "unit", str(path)],
        env=environment(),
        folder=attempt.scratch,
        warm=place.warm if place.warm.ready(go_on=go_on) else None,
    )


def finish(attempt: Attempt[Claim], ending: Ending) -> None:
    """Upload what the unit made; it has succeeded."""
    files = records.upload(attempt, attempt.scratch / "out", f"{attempt.claim.prefix}/out")
    output = {"files": files, "peak_memory_bytes": ending.peak_memory_bytes, "versions": versions()}
    attempt.write(lambda session, claim: units.succeed_unit(session, claim, output=output))
