"""What a worker needs to validate a dataset, and what becomes of what it found."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy.orm import Session

from core import datasets
from core.comparisons.pairs import WonAndLost, pairs_of
from core.db import settings_of
from core.ingest.limits import Limits
from core.ingest.options import Options
from core.ingest.split import TRAINING, VALIDATION
from core.models import Dataset, File, Reason
from core.runs.claims import Claim
from core.runs.units import fail_unit, succeed_unit
from core.settings import Settings
from core.sources import SourceFile


@dataclass(frozen=True)
class Intake:
    """What is to be validated, the limits, and what the user said of it: a file, or pairs to make one of."""

    file: SourceFile | None
    limits: Limits
    options: Options
    pairs: Sequence[WonAndLost] = ()

    def as_json(self) -> dict[str, Any]:
        """Return what a child process needs, beside where the file and its output lie."""
        return {"limits": asdict(self.limits), "options": self.options.as_json()}


def limits_of(settings: Settings) -> Limits:
    """Return the platform's limits on archives."""
    return Limits(
        max_unpacked_bytes=settings.max_unpacked_bytes,
        max_unpack_ratio=settings.max_unpack_ratio,
        max_entries=settings.max_entries,
        max_picture_bytes=settings.max_picture_bytes,
        max_picture_pixels=settings.max_picture_pixels,
        max_caption_characters=settings.max_caption_characters,
    )


def intake(session: Session, claim: Claim) -> Intake:
    """Return what an ingest unit has to validate."""
    dataset = session.get(Dataset, claim.dataset_id)
    assert dataset is not None
    told = (limits_of(settings_of(session)), Options.of_json(dataset.options))
    if dataset.comparison_id is not None:
        return Intake(None, *told, pairs_of(session, dataset))
    file = session.get(File, dataset.file_id)
    assert file is not None
    return Intake(SourceFile(file.filename, file.key, file.sha256, file.bytes), *told)


def accept(session: Session, claim: Claim, *, found: dict[str, Any], files: list[dict[str, Any]]) -> None:
    """Finish an ingest unit whose archive is good.

    Args:
        session: an open transaction.
        claim: of the unit.
        found: ``core.ingest.dataset.Ingested`` as JSON.
        files: the manifest of the folder it was written to, ``[{path, key, sha256, size}]``.

    Raises:
        StaleFence: the claim is lost; nothing may be committed.
    """
    known = {file["path"]: file for file in files}
    held_out = found.get("held_out")
    output = _with_keys(found, known, folder="" if held_out is None else f"{TRAINING}/")
    if held_out is not None:
        output["held_out"] = _with_keys(held_out, known, folder=f"{VALIDATION}/")
    succeed_unit(session, claim, output=output)


def refuse(
    session: Session,
    claim: Claim,
    *,
    message: str,
    rejected: list[dict[str, Any]],
    files: list[dict[str, Any]] | None = None,
) -> None:
    """End an ingest unit whose archive cannot be used.

    Args:
        session: an open transaction.
        claim: of the unit.
        message: why.
        rejected: the first rows that were left out.
        files: the manifest of files with all of them, if there are more.

    Raises:
        StaleFence: the claim is lost; nothing may be committed.
    """
    assert claim.dataset_id is not None
    datasets.note_rejected(session, dataset_id=claim.dataset_id, rejected=rejected, rejections=files or [])
    fail_unit(session, claim, reason=Reason.user_error, message=message)


def _with_keys(found: dict[str, Any], known: Mapping[str, dict[str, Any]], *, folder: str) -> dict[str, Any]:
    """Replace the names of files by entries of manifests; rejections lie beside the parts, not in one."""
    places = {"shards": folder, "pages": folder, "fingerprints": folder, "rejections": ""}
    manifests = {
        kind: [known[place + name] | {"path": name} for name in found.get(kind, [])]
        for kind, place in places.items()
    }
    return found | manifests
