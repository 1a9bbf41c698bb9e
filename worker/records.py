"""What a child tells becomes rows, and what it makes becomes objects under its attempt's prefix."""

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import structlog

from core.errors import StoreUnavailable
from core.runs import records as rows
from core.runs.claims import Claim
from core.tracing import span
from worker import phases
from worker.attempt import Attempt
from worker.child import Line

log = structlog.get_logger(__name__)

Manifest = list[dict[str, Any]]  # path, key, sha256, size
EVENTS = frozenset(("progress", "metrics", "evaluation", "message"))


class Torn(Exception):  # noqa: N818  says what the files are
    """Files on disk are not those that their manifest tells of."""


def record(attempt: Attempt[Claim], lines: Iterable[Line]) -> None:
    """Write a batch of lines: the small ones in one transaction, each picture and checkpoint in its own.

    Raises:
        core.errors.StaleFence: the claim is no longer ours; nothing of the batch's rest was written.
        Torn: a checkpoint does not hold what its manifest tells.
    """
    small: list[Line] = []
    for line in lines:
        if line["type"] in EVENTS:
            small.append(line)
            continue
        _record_events(attempt, small)
        small = []
        if line["type"] == "checkpoint":
            _record_checkpoint(attempt, line)
        elif line["type"] == "sample":
            _record_sample(attempt, line)
        elif line["type"] == "span":
            phases.note(line)
    _record_events(attempt, small)


def upload(attempt: Attempt[Any], folder: Path, prefix: str) -> Manifest:
    """Put every file of a folder under a prefix and return the manifest."""
    files: Manifest = []
    with span("upload") as opened:
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            name, key = file.relative_to(folder).as_posix(), f"{prefix}/{file.relative_to(folder).as_posix()}"
            stored = attempt.put(key, file)
            files.append({"path": name, "key": key, "sha256": stored.sha256, "size": stored.size})
        opened.set_attribute("spindle.files", len(files))
    return files


def _record_events(attempt: Attempt[Claim], lines: list[Line]) -> None:
    if lines:
        attempt.write(lambda session, claim: rows.record_events(session, claim, lines))


def _record_checkpoint(attempt: Attempt[Claim], line: Line) -> None:
    folder = Path(line["path"])
    told = json.loads((folder / "manifest.json").read_text())["files"]
    files = upload(attempt, folder, f"{attempt.claim.prefix}/checkpoints/{folder.name}")
    found = {file["path"]: file["sha256"] for file in files}
    wrong = [name for name in told if found.get(name) != told[name]["sha256"]]
    if wrong:
        raise Torn(f"checkpoint {folder.name}: {', '.join(wrong[:3])} is not what its manifest tells")
    attempt.write(
        lambda session, claim: rows.record_checkpoint(
            session,
            claim,
            iteration=line["iteration"],
            step=line["step"],
            files=files,
        )
    )
    for key in attempt.write(rows.thin_checkpoints):
        _delete(attempt, key)
    shutil.rmtree(folder)  # the store has it: a long iteration would fill this host's disk with them


def _delete(attempt: Attempt[Claim], key: str) -> None:
    """Delete an object that no row tells of any more; what stays goes with the leftovers of its unit."""
    try:
        attempt.place.store.delete(key)
    except (StoreUnavailable, OSError) as error:
        log.warning("expendable_object_stays", key=key, error=type(error).__name__)


def _record_sample(attempt: Attempt[Claim], line: Line) -> None:
    path = Path(line["path"])
    key = f"{attempt.claim.prefix}/samples/{line['iteration']}-{line['index']}{path.suffix}"
    attempt.put(key, path)
    told = {name: line[name] for name in ("iteration", "index", "prompt", "seed")}
    attempt.write(lambda session, claim: rows.record_sample(session, claim, key=key, **told))
