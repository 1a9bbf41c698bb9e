"""The units of exports and imports: inputs staged, processes started, and what comes of them."""

import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from core.runs import units
from core.runs.claims import Claim
from core.sources import Source
from core.transfers.work import export_work, import_work
from spin_engine.sizes import of_pipeline
from spin_engine.transfer_spec import FOUND, TRANSFER
from worker import records, staging
from worker.attempt import Attempt
from worker.child import Child, Ending, environment
from worker.lease import Order
from worker.warm import ENGINE

LIBRARIES_BYTES = 4 << 30  # address space of their own: of threads, of allocators
FILE = "file"  # what the user called it never becomes a path


def start_export(attempt: Attempt[Claim]) -> Child:
    """Stage the model and start to write it.

    Raises:
        Interrupted: an order came meanwhile.
    """
    work = attempt.write(export_work)
    _make_room(attempt)
    return _start_engine(
        attempt,
        {
            "kind": "export",
            "format": work.format,
            "base": _staged(attempt, work.base),
            "weights": _staged(attempt, work.weights),
            "previews": _staged(attempt, work.previews),
            "title": work.title,
            "card": work.card,
            "filename": work.filename,
        },
    )


def start_unpacking(attempt: Attempt[Claim]) -> Child:
    """Stage the file and start to unpack it.

    Raises:
        Interrupted: an order came meanwhile.
    """
    place, scratch = attempt.place, attempt.scratch
    work = attempt.write(import_work)
    place.warm.begin()  # it imports while the file is unpacked
    _make_room(attempt)
    folder = _staged(attempt, Source(files=(replace(work.file, path=FILE),)))
    assert folder is not None
    spec = {
        "file": str(Path(folder) / FILE),
        "out": str(scratch / "given"),
        "result": str(scratch / "result.json"),
        "limits": asdict(work.limits),
        "memory_bytes": place.settings.ingest_memory_bytes,
        "cpu_seconds": place.settings.ingest_cpu_seconds,
    }
    path = scratch / "unpacking.json"
    path.write_text(json.dumps(spec))
    return Child([sys.executable, "-m", "worker.unpacking", str(path)], env=environment(), folder=scratch)


def start_loading(attempt: Attempt[Claim]) -> Child:
    """Start to load what was unpacked, as what it is."""
    taken = json.loads((attempt.scratch / "result.json").read_text())
    work = attempt.write(import_work)
    if taken["kind"] == "lora" and work.base is None:
        raise ValueError("the file is a LoRA: name the base_model that it is for")
    base = _staged(attempt, work.base)
    return _start_engine(
        attempt,
        {
            "kind": "import",
            "given": taken["kind"],
            "files": str(attempt.scratch / "given"),
            "base": base,
            "alpha": work.alpha or taken["alpha"],
            "memory_bytes": min(attempt.place.settings.import_memory_bytes, _memory_for(attempt, base)),
            "cpu_seconds": attempt.place.settings.import_cpu_seconds,
        },
    )


def finish_export(attempt: Attempt[Claim], ending: Ending) -> None:
    """Upload the file that was written; it is ready."""
    _succeed(attempt, ending, {})


def finish_import(attempt: Attempt[Claim], ending: Ending) -> None:
    """Upload the files that were kept; the model is there."""
    out = attempt.scratch / "out"
    found = json.loads((out / FOUND).read_text())
    (out / FOUND).unlink()
    if (out / "model").is_dir():
        size = of_pipeline(out / "model")
        found["size"] = None if size is None else size.as_json()
    taken = json.loads((attempt.scratch / "result.json").read_text())
    _succeed(attempt, ending, {"found": found | {name: taken[name] for name in ("bytes", "tensors")}})


def _succeed(attempt: Attempt[Claim], ending: Ending, more: dict[str, Any]) -> None:
    files = records.upload(attempt, attempt.scratch / "out", attempt.claim.prefix)
    output = {"files": files, "peak_memory_bytes": ending.peak_memory_bytes} | more
    attempt.write(lambda session, claim: units.succeed_unit(session, claim, output=output))


def _start_engine(attempt: Attempt[Claim], told: dict[str, Any]) -> Child:
    scratch, warm = attempt.scratch, attempt.place.warm
    warm.begin()
    spec = TRANSFER.validate_python(told | {"out": str(scratch / "out")})
    (scratch / "out").mkdir()
    path = scratch / "spec.json"
    path.write_text(json.dumps(TRANSFER.dump_python(spec, mode="json")))
    return Child(
        [*ENGINE, "transfer", str(path)],
        env=environment(),
        folder=scratch,
        warm=warm if warm.ready(go_on=lambda: _go_on(attempt)) else None,
    )


def _memory_for(attempt: Attempt[Claim], base: str | None) -> int:
    """Return what loading may take: the files in memory and as they are read, in twice the precision."""
    folders = [attempt.scratch / "given", *([] if base is None else [Path(base)])]
    held = sum(path.stat().st_size for folder in folders for path in folder.rglob("*") if path.is_file())
    return 4 * held + LIBRARIES_BYTES


def _make_room(attempt: Attempt[Claim]) -> None:
    staging.make_room(attempt.place.cache, limit=attempt.place.settings.worker_cache_bytes)


def _staged(attempt: Attempt[Claim], source: Source | None) -> str | None:
    if source is None:
        return None
    place = attempt.place
    return str(staging.stage(source, store=place.store, cache=place.cache, go_on=lambda: _go_on(attempt)))


def _go_on(attempt: Attempt[Claim]) -> bool:
    return attempt.lease.order is Order.go_on
