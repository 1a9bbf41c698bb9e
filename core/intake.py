"""What a worker needs to validate a dataset, and what becomes of what it found."""

from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy.orm import Session

from core import datasets
from core.db import settings_of
from core.ingest.limits import Limits
from core.models import Dataset, File, Reason
from core.runs.claims import Claim
from core.runs.units import fail_unit, succeed_unit
from core.settings import Settings
from core.sources import SourceFile


@dataclass(frozen=True)
class Intake:
    """A file to be validated, and the limits."""

    file: SourceFile
    limits: Limits

    def as_json(self) -> dict[str, Any]:
        """Return what a child process needs, beside where the file and its output lie."""
        return {"limits": asdict(self.limits)}


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
    file = session.get(File, dataset.file_id)
    assert file is not None
    return Intake(
        SourceFile(file.filename, file.key, file.sha256, file.bytes), limits_of(settings_of(session))
    )


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
    manifests = {part: [known[name] for name in found[part]] for part in ("shards", "pages")}
    succeed_unit(session, claim, output=found | manifests)


def refuse(session: Session, claim: Claim, *, message: str, rejected: list[dict[str, Any]]) -> None:
    """End an ingest unit whose archive cannot be used.

    Raises:
        StaleFence: the claim is lost; nothing may be committed.
    """
    assert claim.dataset_id is not None
    datasets.note_rejected(session, dataset_id=claim.dataset_id, rejected=rejected)
    fail_unit(session, claim, reason=Reason.user_error, message=message)
