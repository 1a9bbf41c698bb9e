"""Which objects rows tell of: those that a backup must hold."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from core.backup.tables import Row
from core.models import DRAWING_ENDED

MANIFESTS = {
    "checkpoint": ("files",),
    "comparison_picture": ("files",),
    "dataset": ("shards", "pages", "fingerprints", "rejections"),
}


@dataclass(frozen=True)
class Told:
    """An object as a row tells of it; previews are told of by their key alone."""

    key: str
    sha256: str | None = None
    size: int | None = None


def told_of(table: str, row: Row) -> Iterator[Told]:
    """Yield the objects that a row tells of."""
    for column in MANIFESTS.get(table, ()):
        yield from _of_manifest(row[column])
    match table:
        case "blob" if row["files"]:
            yield Told(row["key"], row["sha256"], row["bytes"])
        case "file" if row["key"] and row["deleted_at"] is None:
            yield Told(row["key"], row["sha256"], row["bytes"])
        case "model_export" if row["key"] is not None:
            yield Told(row["key"], row["sha256"], row["bytes"])
        case "sample":
            yield Told(row["key"])
        case "unit":
            yield from _of_manifest((row["output"] or {}).get("files"))
        case "drawing":
            yield from _of_manifest((row["result"] or {}).get("files"))


def _of_manifest(files: Iterable[dict[str, Any]] | None) -> Iterator[Told]:
    for file in files or ():
        yield Told(file["key"], file["sha256"], file["size"])


def is_kept(table: str, row: Row) -> bool:
    """Tell whether a backup holds a row: not pictures that go after a day, nor requests without answer."""
    match table:
        case "drawing":
            return row["kept"] or row["state"] not in DRAWING_ENDED
        case "idempotency":
            return row["status"] is not None
        case "upload_part":
            return False  # an upload that is under way has to be begun again
    return True
