"""A dataset's unit: the archive staged or packed for ``python -m worker.ingest``, and what comes of it."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from core import intake
from core.comparisons.pairs import pack
from core.intake import Intake
from core.runs.claims import Claim
from core.sources import Source, SourceFile
from worker import records, staging
from worker.attempt import Attempt
from worker.child import Child, Ending, environment
from worker.lease import Order

ARCHIVE = "archive"  # what the user called it never becomes a path
PICTURE = "picture"


def start(attempt: Attempt[Claim]) -> Child:
    """Stage the archive, or pack the pictures that votes chose into one, and start reading it.

    Raises:
        Interrupted: an order came meanwhile.
    """
    place, scratch = attempt.place, attempt.scratch
    given = attempt.write(intake.intake)
    staging.make_room(place.cache, limit=place.settings.worker_cache_bytes)
    spec = {
        "archive": str(_archive(attempt, given)),
        "out": str(scratch / "out"),
        "result": str(scratch / "result.json"),
        "memory_bytes": place.settings.ingest_memory_bytes,
        "cpu_seconds": place.settings.ingest_cpu_seconds,
    } | given.as_json()
    path = scratch / "spec.json"
    path.write_text(json.dumps(spec))
    return Child([sys.executable, "-m", "worker.ingest", str(path)], env=environment(), folder=scratch)


def _archive(attempt: Attempt[Claim], given: Intake) -> Path:
    """Return where the archive lies on this host now."""
    place = attempt.place

    def go_on() -> bool:
        return attempt.lease.order is Order.go_on

    if given.file is not None:
        source = Source(files=(replace(given.file, path=ARCHIVE),))
        return staging.stage(source, store=place.store, cache=place.cache, go_on=go_on) / ARCHIVE

    def read(file: SourceFile) -> bytes:
        path = attempt.scratch / PICTURE
        staging.fetch_file(file, path, store=place.store, go_on=go_on)
        return path.read_bytes()

    archive = attempt.scratch / ARCHIVE
    pack(given.pairs, archive, read=read)
    return archive


def finish(attempt: Attempt[Claim], _ending: Ending) -> None:
    """Upload the dataset's files; it is ready."""
    found: dict[str, Any] = json.loads((attempt.scratch / "result.json").read_text())
    files = records.upload(attempt, attempt.scratch / "out", attempt.claim.prefix)
    attempt.write(lambda session, claim: intake.accept(session, claim, found=found, files=files))


def refuse(attempt: Attempt[Claim], *, message: str, rejected: list[dict[str, Any]]) -> None:
    """Tell why nothing of the archive can be used. Pages of rejected rows are all it may have left."""
    files = records.upload(attempt, attempt.scratch / "out", attempt.claim.prefix)
    attempt.write(
        lambda session, claim: intake.refuse(session, claim, message=message, rejected=rejected, files=files)
    )
