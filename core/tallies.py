"""Counters that several API processes tell alike: attempts at units, added up in the database by the beat.

An attempt is counted twice, when it begins and when it has ended, each in the transaction that marks it as
counted. So a crash neither loses nor doubles any, and reading the counters costs a few rows however long the
history is.
"""

import json
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, func, select, tuple_, update
from sqlalchemy.orm import Session

from core.db import Database, transaction
from core.models import Attempt, Dataset, Job, Reason, Tally, Unit
from core.runs.lifecycle import QUIETLY
from core.runs.reaping import SILENT
from core.upsert import insert

BATCH = 500
SECONDS = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 4 * 3600.0, 12 * 3600.0, 24 * 3600.0)
AGAIN = frozenset(reason.value for reason in Reason)
Counts = Counter[tuple[str, str]]


@dataclass(frozen=True)
class _Whose:
    kind: str
    project: str


def count_attempts(database: Database) -> int:
    """Count what has begun and ended since the last time; return how many beginnings and ends there were."""
    done = 0
    for step in (_count_begun, _count_ended):
        found = BATCH
        while found == BATCH:
            with transaction(database) as session:
                found = step(session)
            done += found
    return done


def tallies(session: Session) -> dict[str, list[tuple[dict[str, str], float]]]:
    """Return the counters by name: labels and value of each."""
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for tally in session.scalars(select(Tally).order_by(Tally.name, Tally.labels)):
        found.setdefault(tally.name, []).append((json.loads(tally.labels), tally.value))
    return found


def _count_begun(session: Session) -> int:
    begun = _take(session, Attempt.counted == 0, counted=1)
    if not begun:
        return 0
    ids = {attempt.unit_id for attempt in begun}
    whose = _whose(session, ids)
    outcomes: dict[str, dict[int, str | None]] = {}
    known = select(Attempt.unit_id, Attempt.fence, Attempt.outcome).where(Attempt.unit_id.in_(ids))
    for unit_id, fence, outcome in session.execute(known):
        outcomes.setdefault(unit_id, {})[fence] = outcome
    counts: Counts = Counter()
    for attempt in begun:
        kind = whose[attempt.unit_id].kind
        add(counts, "claims", kind=kind)
        earlier = [fence for fence in outcomes[attempt.unit_id] if fence < attempt.fence]
        reason = outcomes[attempt.unit_id][max(earlier)] if earlier else None
        if reason in AGAIN:
            add(counts, "retries", kind=kind, reason=reason)
    write(session, counts)
    return len(begun)


def _count_ended(session: Session) -> int:
    ended = _take(session, Attempt.counted == 1, Attempt.ended_at.is_not(None), counted=2)
    if not ended:
        return 0
    whose = _whose(session, {attempt.unit_id for attempt in ended})
    counts: Counts = Counter()
    for attempt in ended:
        kind, project = whose[attempt.unit_id].kind, whose[attempt.unit_id].project
        seconds = seconds_between(attempt.started_at, attempt.ended_at)
        add(counts, "attempts", kind=kind, outcome=attempt.outcome)
        add(counts, "gpu_seconds", seconds * attempt.gpus, project=project)
        add(counts, "project_seconds", seconds, kind=kind, project=project)
        if attempt.outcome == Reason.worker_lost.value and attempt.message == SILENT:
            add(counts, "lease_losses", kind=kind)
        if attempt.outcome == "succeeded":
            add(counts, "unit_seconds", kind=kind, le=bucket(seconds))
            add(counts, "unit_seconds_sum", seconds, kind=kind)
    write(session, counts)
    return len(ended)


def bucket(seconds: float) -> str:
    """Return the upper bound of the histogram's bucket that holds a duration."""
    index = bisect_left(SECONDS, seconds)
    return f"{SECONDS[index]:g}" if index < len(SECONDS) else "+Inf"


def _take(session: Session, *which: ColumnElement[bool], counted: int) -> Sequence[Any]:
    """Mark some attempts and return them; those that another beat marks meanwhile are not among them."""
    some = select(Attempt.unit_id, Attempt.fence).where(*which).limit(BATCH)
    return session.execute(
        update(Attempt)
        .where(tuple_(Attempt.unit_id, Attempt.fence).in_(some), *which)
        .values(counted=counted)
        .returning(
            Attempt.unit_id,
            Attempt.fence,
            Attempt.started_at,
            Attempt.ended_at,
            Attempt.outcome,
            Attempt.message,
            Attempt.gpus,
        )
        .execution_options(**QUIETLY)
    ).all()


def _whose(session: Session, ids: Iterable[str]) -> dict[str, _Whose]:
    rows = session.execute(
        select(Unit.id, Unit.kind, func.coalesce(Job.project_id, Dataset.project_id))
        .outerjoin(Job, Job.id == Unit.job_id)
        .outerjoin(Dataset, Dataset.id == Unit.dataset_id)
        .where(Unit.id.in_(list(ids)))
    )
    return {unit_id: _Whose(kind.value, project or "") for unit_id, kind, project in rows}


def seconds_between(started: datetime, ended: datetime) -> float:
    """Return how long something took; not less than nothing."""
    return max(0.0, (ended - started).total_seconds())  # two hosts may have told these times


def add(counts: Counts, name: str, value: float = 1.0, **labels: str) -> None:
    """Add to a counter."""
    counts[name, json.dumps(labels, sort_keys=True)] += value  # type: ignore[assignment]  # seconds are counted too


def write(session: Session, counts: Counts) -> None:
    """Add what was counted to what is in the database."""
    # In one order everywhere, so that two beats never wait for each other's rows.
    rows = [
        {"name": name, "labels": labels, "value": counts[name, labels]} for name, labels in sorted(counts)
    ]
    statement = insert(session, Tally).values(rows)
    session.execute(
        statement.on_conflict_do_update(
            index_elements=["name", "labels"], set_={"value": Tally.value + statement.excluded.value}
        )
    )
