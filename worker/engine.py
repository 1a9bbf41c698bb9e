"""A unit of a job in the engine's process: its spec, its inputs, and what it leaves."""

import json

from core.runs import units
from core.runs.claims import Claim
from core.sources import Source, Work, work_for
from spin_engine.unit_spec import UnitSpec
from worker import records, staging
from worker.attempt import Attempt
from worker.child import Child, Ending, environment
from worker.lease import Order
from worker.warm import ENGINE


def start(attempt: Attempt[Claim]) -> Child:
    """Stage what the unit reads and start it.

    Raises:
        Interrupted: an order came meanwhile.
    """
    claim, scratch, warm = attempt.claim, attempt.scratch, attempt.place.warm
    warm.begin()  # it imports while inputs are fetched
    work: Work = attempt.write(lambda session, claim: work_for(session, unit_id=claim.unit_id))
    staging.make_room(attempt.place.cache, limit=attempt.place.settings.worker_cache_bytes)

    def go_on() -> bool:
        return attempt.lease.order is Order.go_on

    def staged(source: Source) -> str:
        return str(staging.stage(source, store=attempt.place.store, cache=attempt.place.cache, go_on=go_on))

    spec = UnitSpec.model_validate(
        {
            "kind": claim.kind.value,
            "method": work.method,
            "seed": work.seed,
            "iteration": claim.iteration,
            "shard": claim.shard,
            "shards": claim.shards,
            "inputs": {name: staged(source) for name, source in work.inputs.items()},
            "out": str(scratch / "out"),
            "resume": None if work.resume is None else staged(work.resume),
        }
    )
    (scratch / "out").mkdir()
    path = scratch / "spec.json"
    path.write_text(json.dumps(spec.model_dump(mode="json")))
    return Child(
        [*ENGINE, "unit", str(path)],
        env=environment(),
        folder=scratch,
        warm=warm if warm.ready(go_on=go_on) else None,
    )


def finish(attempt: Attempt[Claim], ending: Ending) -> None:
    """Upload what the unit made; it has succeeded."""
    files = records.upload(attempt, attempt.scratch / "out", f"{attempt.claim.prefix}/out")
    output = {"files": files, "peak_memory_bytes": ending.peak_memory_bytes}
    attempt.write(lambda session, claim: units.succeed_unit(session, claim, output=output))
