"""A dataset's unit: the archive staged for ``python -m worker.ingest``, and what comes of it."""

import json
import sys
from dataclasses import replace
from typing import Any

from core import intake
from core.runs.claims import Claim
from core.sources import Source
from worker import records, staging
from worker.attempt import Attempt
from worker.child import Child, Ending, environment
from worker.lease import Order

ARCHIVE = "archive"  # what the user called it never becomes a path


def start(attempt: Attempt[Claim]) -> Child:
    """Stage the archive and start reading it.

    Raises:
        Interrupted: an order came meanwhile.
    """
    place, scratch = attempt.place, attempt.scratch
    given = attempt.write(intake.intake)
    staging.make_room(place.cache, limit=place.settings.worker_cache_bytes)
    folder = staging.stage(
        Source(files=(replace(given.file, path=ARCHIVE),)),
        store=place.store,
        cache=place.cache,
        go_on=lambda: attempt.lease.order is Order.go_on,
    )
    spec = {
        "archive": str(folder / ARCHIVE),
        "out": str(scratch / "out"),
        "result": str(scratch / "result.json"),
        "memory_bytes": place.settings.ingest_memory_bytes,
        "cpu_seconds": place.settings.ingest_cpu_seconds,
    } | given.as_json()
    path = scratch / "spec.json"
    path.write_text(json.dumps(spec))
    return Child([sys.executable, "-m", "worker.ingest", str(path)], env=environment(), folder=scratch)


def finish(attempt: Attempt[Claim], _ending: Ending) -> None:
    """Upload the dataset's shards and pages; it is ready."""
    found: dict[str, Any] = json.loads((attempt.scratch / "result.json").read_text())
    files = records.upload(attempt, attempt.scratch / "out", attempt.claim.prefix)
    attempt.write(lambda session, claim: intake.accept(session, claim, found=found, files=files))


def refuse(attempt: Attempt[Claim], *, message: str, rejected: list[dict[str, Any]]) -> None:
    """Tell why nothing of the archive can be used."""
    attempt.write(lambda session, claim: intake.refuse(session, claim, message=message, rejected=rejected))
