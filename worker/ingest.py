"""An uploaded archive is read in its own process, ``python -m worker.ingest SPEC``: no torch, no secrets.

SPEC is JSON: ``{"archive": file, "out": folder, "result": file, "limits": {...}}``.
"""

import argparse
import json
import resource
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from core import intake
from core.ingest.dataset import NoRows, ingest
from core.ingest.limits import BadArchive, Limits
from core.runs.claims import Claim
from core.sources import Source
from spin_engine.unit_spec import DATA_ERROR, OUT_OF_MEMORY
from worker import records, staging
from worker.attempt import Attempt
from worker.child import Child, environment
from worker.lease import Order

MEMORY_BYTES = 2 << 30
CPU_SECONDS = 4 * 3600
ARCHIVE = "archive"  # what the user called it never becomes a path


def start(attempt: Attempt[Claim]) -> Child:
    """Stage the archive and start reading it.

    Raises:
        Interrupted: an order came meanwhile.
    """
    place, scratch = attempt.place, attempt.scratch
    given = attempt.write(intake.intake)
    staging.make_room(place.cache, limit=staging.CACHE_BYTES)
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
    } | given.as_json()
    path = scratch / "spec.json"
    path.write_text(json.dumps(spec))
    return Child([sys.executable, "-m", "worker.ingest", str(path)], env=environment(), folder=scratch)


def finish(attempt: Attempt[Claim]) -> None:
    """Upload the dataset's shards and pages; it is ready."""
    found: dict[str, Any] = json.loads((attempt.scratch / "result.json").read_text())
    files = records.upload(attempt, attempt.scratch / "out", attempt.claim.prefix)
    attempt.write(lambda session, claim: intake.accept(session, claim, found=found, files=files))


def refuse(attempt: Attempt[Claim], *, message: str, rejected: list[dict[str, Any]]) -> None:
    """Tell why nothing of the archive can be used."""
    attempt.write(lambda session, claim: intake.refuse(session, claim, message=message, rejected=rejected))


def main(arguments: list[str] | None = None) -> int:
    """Read one archive within its limits and return the exit code."""
    parser = argparse.ArgumentParser("python -m worker.ingest", description="Turn an archive into a dataset.")
    parser.add_argument("spec", type=Path, help="JSON: archive, out, result, limits")
    spec = json.loads(parser.parse_args(arguments).spec.read_text())
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 10))
    try:
        found = ingest(Path(spec["archive"]), Path(spec["out"]), limits=Limits(**spec["limits"]))
    except BadArchive as error:
        rejected = error.rejected if isinstance(error, NoRows) else []
        return _tell("user_error", str(error), DATA_ERROR, rejected=rejected)
    except MemoryError:
        return _tell("out_of_memory", f"the archive needs more than {MEMORY_BYTES >> 30} GiB", OUT_OF_MEMORY)
    Path(spec["result"]).write_text(json.dumps(found.as_json()))
    print(json.dumps({"type": "done"}), flush=True)
    return 0


def _tell(reason: str, message: str, code: int, **more: Any) -> int:
    print(json.dumps({"type": "error", "reason": reason, "message": message} | more), flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
