"""A unit of a job made ready to start: its inputs staged, its spec written."""

import json
from pathlib import Path
from typing import Any

from core.models import UnitKind
from core.sources import Source, Work
from spin_engine.unit_spec import UnitSpec
from worker import staging
from worker.attempt import Attempt
from worker.lease import Order


def prepare(
    attempt: Attempt[Any], work: Work, *, kind: UnitKind, iteration: int, shard: int = 0, shards: int = 1
) -> tuple[UnitSpec, Path]:
    """Stage what a unit reads; return its spec, and the file it is in.

    Raises:
        Interrupted: an order came meanwhile.
    """
    place, scratch = attempt.place, attempt.scratch
    staging.make_room(place.cache, limit=place.settings.worker_cache_bytes)

    def go_on() -> bool:
        return attempt.lease.order is Order.go_on

    def staged(source: Source) -> str:
        return str(staging.stage(source, store=place.store, cache=place.cache, go_on=go_on))

    spec = UnitSpec.model_validate(
        {
            "kind": kind.value,
            "method": work.method,
            "seed": work.seed,
            "iteration": iteration,
            "shard": shard,
            "shards": shards,
            "inputs": {name: staged(source) for name, source in work.inputs.items()},
            "out": str(scratch / "out"),
            "resume": None if work.resume is None else staged(work.resume),
        }
    )
    (scratch / "out").mkdir()
    path = scratch / "spec.json"
    path.write_text(json.dumps(spec.model_dump(mode="json")))
    return spec, path
