"""Whether the parts can be used, and how much there is to do."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import structlog
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from core import schema, workers
from core.db import Database, transaction
from core.errors import AppError, Unavailable
from core.models import Drawing, DrawingState, Job, JobState, Outbox, Unit, UnitKind, UnitState
from core.queue import check_broker
from core.settings import Settings
from core.storage.store import ObjectStore

log = structlog.get_logger(__name__)

OK = "ok"


@dataclass(frozen=True)
class Gauge:
    """One number at this moment, as Prometheus has it."""

    name: str
    text: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)


def check(settings: Settings, database: Database, store: ObjectStore) -> dict[str, str]:
    """Return for each part ``"ok"`` or what is wrong with it, in words that give nothing away."""
    return {
        "database": _tried("database", lambda: _check_database(database)),
        "store": _tried("store", store.check),
        "queue": _tried("queue", lambda: check_broker(settings)),
        "workers": _tried("workers", lambda: _check_workers(database)),
    }


def gauges(session: Session) -> list[Gauge]:
    """Count jobs, units, drawings, messages and workers; a state without any counts zero."""
    number = func.count().label("number")
    jobs = {row.state: row.number for row in session.execute(select(Job.state, number).group_by(Job.state))}
    units = {
        (row.kind, row.state): row.number
        for row in session.execute(select(Unit.kind, Unit.state, number).group_by(Unit.kind, Unit.state))
    }
    drawings = {
        row.state: row.number
        for row in session.execute(select(Drawing.state, number).group_by(Drawing.state))
    }
    unsent = session.scalar(select(func.count()).select_from(Outbox).where(Outbox.sent_at.is_(None)))
    found = [
        Gauge("spindle_jobs", "Jobs by state.", jobs.get(state, 0), {"state": state.value})
        for state in JobState
    ]
    found += [
        Gauge(
            "spindle_units",
            "Units by kind and state.",
            units.get((kind, state), 0),
            {"kind": kind.value, "state": state.value},
        )
        for kind in UnitKind
        for state in UnitState
    ]
    found += [
        Gauge(
            "spindle_drawings",
            "Requests for pictures by state.",
            drawings.get(state, 0),
            {"state": state.value},
        )
        for state in DrawingState
    ]
    found.append(Gauge("spindle_doorbells_unsent", "Messages that the queue has not taken yet.", unsent or 0))
    found += [
        Gauge("spindle_workers", "Workers seen in the last minute, by kind.", seen, {"kind": kind})
        for kind, seen in sorted(workers.seen(session).items())
    ]
    return found


def _tried(part: str, attempt: Callable[[], None]) -> str:
    try:
        attempt()
    except AppError as error:
        return error.message
    except (SQLAlchemyError, OSError, ValueError) as error:
        log.warning("part_not_usable", part=part, error=type(error).__name__, detail=str(error))
        return f"cannot be used ({type(error).__name__}); the log tells more"
    return OK


def _check_database(database: Database) -> None:
    with database.engine.connect() as connection:
        if schema.current(connection) != schema.newest():
            raise Unavailable("its tables are of another version; run `python -m core.migrate`")


def _check_workers(database: Database) -> None:
    with transaction(database) as session:
        if not workers.seen(session):
            raise Unavailable(f"none was seen in the last {workers.SEEN_SECONDS:.0f} seconds")
