"""Whether the parts can be used."""

from collections.abc import Callable

import structlog
from sqlalchemy.exc import SQLAlchemyError

from core import schema, workers
from core.db import Database, transaction
from core.errors import AppError, Unavailable
from core.queue import check_broker
from core.settings import Settings
from core.storage.store import ObjectStore

log = structlog.get_logger(__name__)

OK = "ok"


def check(settings: Settings, database: Database, store: ObjectStore) -> dict[str, str]:
    """Return for each part ``"ok"`` or what is wrong with it, in words that give nothing away."""
    return {
        "database": _tried("database", lambda: _check_database(database)),
        "store": _tried("store", store.check),
        "queue": _tried("queue", lambda: check_broker(settings)),
        "workers": _tried("workers", lambda: _check_workers(database)),
    }


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
