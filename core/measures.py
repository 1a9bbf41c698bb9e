"""What the platform measures of itself, as Prometheus has it: read from the database when somebody asks."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core import workers
from core.clock import database_now
from core.models import (
    DEFAULT_QUEUE,
    UNIT_ENDED,
    Drawing,
    DrawingState,
    Job,
    JobState,
    Outbox,
    Unit,
    UnitKind,
    UnitState,
)
from core.tallies import SECONDS, tallies

OPEN = tuple(state for state in UnitState if state not in UNIT_ENDED)
SINCE = func.coalesce(Unit.pending_at, Unit.created_at)
COUNTERS = {
    "claims": ("spindle_claims", "Units that workers took, by kind."),
    "attempts": ("spindle_attempts", "Attempts at units that have ended, by kind and outcome."),
    "lease_losses": ("spindle_lease_losses", "Units taken from workers silent for longer than their lease."),
    "retries": ("spindle_retries", "Units taken again, by the reason why the attempt before had ended."),
    "gpu_seconds": ("spindle_gpu_seconds", "Seconds that units held GPUs, times their number, by project."),
    "project_seconds": ("spindle_project_seconds", "Seconds that units held workers, by project and kind."),
}


@dataclass(frozen=True)
class Gauge:
    """One number at this moment."""

    name: str
    text: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Count:
    """One number that only grows."""

    name: str
    text: str
    value: float
    labels: Mapping[str, str]


@dataclass(frozen=True)
class Spread:
    """A histogram: ``buckets`` are (upper bound, how many up to it), the last bound being ``+Inf``."""

    name: str
    text: str
    buckets: list[tuple[str, float]]
    sum: float
    labels: Mapping[str, str]


def gauges(session: Session) -> list[Gauge]:
    """Count jobs, open units, drawings, messages and workers; a state without any counts zero.

    Ended units are not counted anew each time: their number only grows, and ``spindle_attempts`` has it.
    """
    return [*_jobs(session), *_units(session), *_drawings(session), *_workers(session)]


def _jobs(session: Session) -> list[Gauge]:
    number = func.count().label("number")
    jobs = {row.state: row.number for row in session.execute(select(Job.state, number).group_by(Job.state))}
    return [
        Gauge("spindle_jobs", "Jobs by state.", jobs.get(state, 0), {"state": state.value})
        for state in JobState
    ]


def _units(session: Session) -> list[Gauge]:
    rows = session.execute(
        select(Unit.queue, Unit.kind, Unit.state, func.count(), func.min(SINCE))
        .where(Unit.state.in_(OPEN))
        .group_by(Unit.queue, Unit.kind, Unit.state)
    )
    found = {(queue, kind, state): (number, oldest) for queue, kind, state, number, oldest in rows}
    queues = sorted({DEFAULT_QUEUE, *(queue for queue, _, _ in found)})
    now = session.scalar(select(database_now()))
    assert now is not None
    gauges = [
        Gauge(
            "spindle_units",
            "Units that have not ended, by kind, queue and state.",
            found.get((queue, kind, state), (0, None))[0],
            {"kind": kind.value, "queue": queue, "state": state.value},
        )
        for queue in queues
        for kind in UnitKind
        for state in OPEN
    ]
    return gauges + [
        Gauge(
            "spindle_oldest_pending_seconds",
            "How long the oldest unit has been waiting for a worker, by kind and queue.",
            _age(found.get((queue, kind, UnitState.pending), (0, None))[1], now),
            {"kind": kind.value, "queue": queue},
        )
        for queue in queues
        for kind in UnitKind
    ]


def _age(since: datetime | None, now: datetime) -> float:
    return 0.0 if since is None else max(0.0, (now.astimezone(UTC) - since).total_seconds())


def _drawings(session: Session) -> list[Gauge]:
    number = func.count().label("number")
    rows = session.execute(select(Drawing.state, number).group_by(Drawing.state))
    drawings = {row.state: row.number for row in rows}
    return [
        Gauge(
            "spindle_drawings",
            "Requests for pictures by state.",
            drawings.get(state, 0),
            {"state": state.value},
        )
        for state in DrawingState
    ]


def _workers(session: Session) -> list[Gauge]:
    unsent = session.scalar(select(func.count()).select_from(Outbox).where(Outbox.sent_at.is_(None)))
    return [
        Gauge("spindle_doorbells_unsent", "Messages that the queue has not taken yet.", unsent or 0),
        *(
            Gauge("spindle_workers", "Workers seen in the last minute, by kind.", seen, {"kind": kind})
            for kind, seen in sorted(workers.seen(session).items())
        ),
    ]


def counters(session: Session) -> tuple[list[Count], list[Spread]]:
    """Return what core.tallies has counted, at most some seconds ago."""
    found = tallies(session)
    counts = [
        Count(name, text, value, labels)
        for tally, (name, text) in COUNTERS.items()
        for labels, value in found.get(tally, [])
    ]
    sums = {labels["kind"]: value for labels, value in found.get("unit_seconds_sum", [])}
    numbers: dict[str, dict[str, float]] = defaultdict(dict)
    for labels, value in found.get("unit_seconds", []):
        numbers[labels["kind"]][labels["le"]] = value
    return counts, [
        Spread(
            "spindle_unit_seconds",
            "Seconds of attempts that succeeded, by kind.",
            _up_to(inside),
            sums[kind],
            {"kind": kind},
        )
        for kind, inside in sorted(numbers.items())
    ]


def _up_to(inside: Mapping[str, float]) -> list[tuple[str, float]]:
    total = 0.0
    buckets = []
    for bound in (*(f"{seconds:g}" for seconds in SECONDS), "+Inf"):
        total += inside.get(bound, 0.0)
        buckets.append((bound, total))
    return buckets
