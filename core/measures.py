"""What the platform measures of itself, as Prometheus has it: read from the database when somebody asks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core import drawing_tallies, tallies, workers
from core.clock import database_now
from core.models import (
    DEFAULT_QUEUE,
    UNIT_ENDED,
    Drawing,
    DrawingState,
    Job,
    JobState,
    Outbox,
    Reason,
    Unit,
    UnitKind,
    UnitState,
)
from core.runs.backlog import Backlog, age, backlog
from core.webhooks.failing import failing

OPEN = tuple(state for state in UnitState if state not in UNIT_ENDED)
COUNTERS = {
    "claims": ("spindle_claims", "Units that workers took, by kind."),
    "attempts": ("spindle_attempts", "Attempts at units that have ended, by kind and outcome."),
    "lease_losses": ("spindle_lease_losses", "Units taken from workers silent for longer than their lease."),
    "retries": ("spindle_retries", "Units taken again, by the reason why the attempt before had ended."),
    "gpu_seconds": ("spindle_gpu_seconds", "Seconds that units held GPUs, times their number, by project."),
    "project_seconds": ("spindle_project_seconds", "Seconds that units held workers, by project and kind."),
    "pictures": ("spindle_pictures", "Pictures whose requests have ended, by outcome."),
}
SPREADS = {
    "unit_seconds": ("Seconds of attempts that succeeded, by kind.", tallies.SECONDS),
    "drawing_seconds": ("Seconds from a request for pictures to its pictures.", drawing_tallies.SECONDS),
    "drawing_wait_seconds": ("Seconds from a request until a worker took it.", drawing_tallies.SECONDS),
    "drawing_batch_pictures": (
        "How many pictures were drawn in one go, for each request.",
        drawing_tallies.TOGETHER,
    ),
}
ENDS = ("succeeded", "cancelled", *Reason)
FROM_THE_START: dict[str, tuple[dict[str, str], ...]] = {
    "claims": tuple({"kind": kind.value} for kind in UnitKind),
    "attempts": tuple({"kind": kind.value, "outcome": str(end)} for kind in UnitKind for end in ENDS),
    "lease_losses": tuple({"kind": kind.value} for kind in UnitKind),
    "pictures": tuple({"outcome": str(end)} for end in ENDS),
}
"""Counters that are told while they are zero: an alert sees a first failure only as a rise."""
Tallies = dict[str, list[tuple[dict[str, str], float]]]


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
    return [*_jobs(session), *_units(session), *_drawings(session), *_workers(session), *_messages(session)]


def _jobs(session: Session) -> list[Gauge]:
    number = func.count().label("number")
    jobs = {row.state: row.number for row in session.execute(select(Job.state, number).group_by(Job.state))}
    return [
        Gauge("spindle_jobs", "Jobs by state.", jobs.get(state, 0), {"state": state.value})
        for state in JobState
    ]


def _units(session: Session) -> list[Gauge]:
    number = func.count().label("number")
    rows = session.execute(
        select(Unit.queue, Unit.kind, Unit.state, number)
        .where(Unit.state.in_(OPEN))
        .group_by(Unit.queue, Unit.kind, Unit.state)
    )
    found = {(row.queue, row.kind, row.state): row.number for row in rows}
    queues = sorted({DEFAULT_QUEUE, *(queue for queue, _, _ in found)})
    gauges = [
        Gauge(
            "spindle_units",
            "Units that have not ended, by kind, queue and state.",
            found.get((queue, kind, state), 0),
            {"kind": kind.value, "queue": queue, "state": state.value},
        )
        for queue in queues
        for kind in UnitKind
        for state in OPEN
    ]
    waiting = backlog(session)
    for queue in queues:
        for kind in UnitKind:
            gauges += _waiting_units(waiting[queue, kind], {"kind": kind.value, "queue": queue})
    return gauges


def _waiting_units(waiting: Backlog, labels: Mapping[str, str]) -> list[Gauge]:
    return [
        Gauge(
            "spindle_oldest_pending_seconds",
            "How long the oldest unit has been waiting for nothing but a worker, by kind and queue.",
            waiting.seconds,
            labels,
        ),
        Gauge("spindle_units_ready", "Units that wait for nothing but a worker.", waiting.ready, labels),
        Gauge(
            "spindle_units_without_worker",
            "Units that wait for a worker, and that no worker seen in the last minute could run.",
            waiting.without_worker,
            labels,
        ),
    ]


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
    ] + _waiting_pictures(session)


def _waiting_pictures(session: Session) -> list[Gauge]:
    waiting = session.execute(
        select(Drawing.background, func.sum(Drawing.pictures), func.min(Drawing.created_at))
        .where(Drawing.state == DrawingState.pending)
        .group_by(Drawing.background)
    )
    found = {background: (pictures, oldest) for background, pictures, oldest in waiting}
    now = session.scalar(select(database_now()))
    assert now is not None
    gauges = []
    for kind, background in (("interactive", False), ("background", True)):
        pictures, oldest = found.get(background, (0, None))
        text = "Pictures that wait to be drawn, by whether somebody waits for them."
        gauges.append(Gauge("spindle_pictures_waiting", text, pictures, {"kind": kind}))
        text = "How long the oldest request for pictures has been waiting for a worker."
        seconds = 0.0 if oldest is None else age(oldest, now)
        gauges.append(Gauge("spindle_oldest_picture_seconds", text, seconds, {"kind": kind}))
    return gauges


def _workers(session: Session) -> list[Gauge]:
    seen = dict.fromkeys(("units", "serve", "beat"), 0) | workers.seen(session)
    return [
        Gauge("spindle_workers", "Workers seen in the last minute, by kind.", number, {"kind": kind})
        for kind, number in sorted(seen.items())
    ]


def _messages(session: Session) -> list[Gauge]:
    """Tell of what is owed: to the queue, and to endpoints of webhooks."""
    unsent = select(func.count().label("number"), func.min(Outbox.created_at).label("oldest"))
    row = session.execute(unsent.where(Outbox.sent_at.is_(None))).one()
    now = session.scalar(select(database_now()))
    assert now is not None
    oldest = 0.0 if row.oldest is None else age(row.oldest, now)
    fails = failing(session)
    return [
        Gauge("spindle_doorbells_unsent", "Messages that the queue has not taken yet.", row.number),
        Gauge("spindle_oldest_doorbell_seconds", "How long the oldest of them has waited.", oldest),
        Gauge("spindle_webhooks_failing", "Endpoints of webhooks that fail.", fails.endpoints),
        Gauge(
            "spindle_webhooks_failing_seconds", "For how long the first of them has failed.", fails.seconds
        ),
        Gauge("spindle_webhooks_overdue", "Deliveries that are due and not sent.", fails.overdue),
    ]


def counters(session: Session) -> tuple[list[Count], list[Spread]]:
    """Return what core.tallies has counted, at most some seconds ago."""
    found = tallies.tallies(session)
    counts = [
        Count(name, text, value, labels)
        for tally, (name, text) in COUNTERS.items()
        for labels, value in _with_zeros(found.get(tally, []), FROM_THE_START.get(tally, ()))
    ]
    spreads = [
        spread for name, (text, bounds) in SPREADS.items() for spread in _spreads(found, name, text, bounds)
    ]
    return counts, spreads


def _with_zeros(
    found: list[tuple[dict[str, str], float]], known: Sequence[dict[str, str]]
) -> list[tuple[dict[str, str], float]]:
    told = [labels for labels, _ in found]
    return found + [(labels, 0.0) for labels in known if labels not in told]


def _spreads(found: Tallies, name: str, text: str, bounds: Sequence[float]) -> list[Spread]:
    """Return a histogram for each kind, of those too of which nothing is counted yet."""
    sums = {labels["kind"]: value for labels, value in found.get(f"{name}_sum", [])}
    kinds = tuple(UnitKind) if name == "unit_seconds" else drawing_tallies.KINDS
    numbers: dict[str, dict[str, float]] = {str(kind): {} for kind in kinds}
    for labels, value in found.get(name, []):
        numbers.setdefault(labels["kind"], {})[labels["le"]] = value
    return [
        Spread(f"spindle_{name}", text, _up_to(inside, bounds), sums.get(kind, 0.0), {"kind": kind})
        for kind, inside in sorted(numbers.items())
    ]


def _up_to(inside: Mapping[str, float], bounds: Sequence[float]) -> list[tuple[str, float]]:
    total = 0.0
    buckets = []
    for bound in (*(f"{each:g}" for each in bounds), "+Inf"):
        total += inside.get(bound, 0.0)
        buckets.append((bound, total))
    return buckets
