"""Objects of attempts that came to nothing: uploaded, and then never told of by a row."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from core.clock import database_now
from core.db import Database, transaction
from core.models import Checkpoint, Dataset, Sample, Unit
from core.runs.lifecycle import QUIETLY
from core.runs.places import prefix_of
from core.storage.store import ObjectStore

QUIET_SECONDS = 3600.0  # a worker that was cut off ends its upload long before


@dataclass(frozen=True)
class _Ended:
    """A unit that has ended: where its attempts wrote, and what of that rows tell of."""

    unit_id: str
    prefix: str
    kept: frozenset[str]


def clear(database: Database, store: ObjectStore, *, limit: int = 20, now: datetime | None = None) -> int:
    """Delete what no row tells of, of units that ended an hour ago or earlier; return how many objects.

    No attempt may write under an ended unit any more, and what a row told of it stays told: the output, its
    checkpoints, the previews that are shown.
    """
    with transaction(database) as session:
        ended = _ended(session, limit=limit, now=now)
    deleted = 0
    for unit in ended:
        for key in store.list(unit.prefix):
            if key not in unit.kept:
                store.delete(key)
                deleted += 1
    if ended:
        with transaction(database) as session:
            session.execute(
                update(Unit)
                .where(Unit.id.in_([unit.unit_id for unit in ended]))
                .values(cleared_at=database_now(now=now))
                .execution_options(**QUIETLY)
            )
    return deleted


def _ended(session: Session, *, limit: int, now: datetime | None) -> list[_Ended]:
    """Return units whose leftovers were not looked for yet. Only an end for good has a time of its end."""
    units = session.scalars(
        select(Unit)
        .where(Unit.cleared_at.is_(None), Unit.finished_at < database_now(plus=-QUIET_SECONDS, now=now))
        .order_by(Unit.finished_at)
        .limit(limit)
    ).all()
    return [_Ended(unit.id, _prefix(unit), told_of(session, unit)) for unit in units]


def _prefix(unit: Unit) -> str:
    return f"{prefix_of(unit, unit.id)}/"


def told_of(session: Session, unit: Unit) -> frozenset[str]:
    """Return the keys below a unit's prefix that rows tell of."""
    if unit.dataset_id is not None:
        dataset = session.get_one(Dataset, unit.dataset_id)
        parts = [dataset]
        if dataset.sibling_id is not None:
            parts.append(session.get_one(Dataset, dataset.sibling_id))
        manifests = [(one.shards, one.pages, one.fingerprints, one.rejections) for one in parts]
        return _keys(*(manifest for each in manifests for manifest in each))
    saved = session.scalars(select(Checkpoint.files).where(Checkpoint.unit_id == unit.id)).all()
    shown = session.scalars(
        select(Sample.key).where(
            Sample.job_id == unit.job_id, Sample.key.startswith(_prefix(unit), autoescape=True)
        )
    )
    return _keys((unit.output or {}).get("files"), *saved) | frozenset(shown)


def _keys(*manifests: Iterable[dict[str, Any]] | None) -> frozenset[str]:
    return frozenset(file["key"] for manifest in manifests for file in manifest or ())
