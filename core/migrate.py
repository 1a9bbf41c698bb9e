"""``python -m core.migrate``: brings the database, the base models, the store and the first key up to date.

It may run again at any time, and by several processes at once. ``--wait SECONDS`` is for where it starts
together with the servers that it needs.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence

import structlog
from alembic.util import CommandError
from pydantic import ValidationError
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from core import base_models, keys, schema
from core.db import Database, transaction
from core.errors import AppError, Unavailable
from core.logs import configure_logs
from core.queue import check_broker
from core.settings import Settings
from core.storage.store import store_for

AGAIN_SECONDS = 2.0
log = structlog.get_logger(__name__)


def migrate(settings: Settings) -> None:
    """Do it all; the error that stops it names what to mend."""
    check_broker(settings)
    store_for(settings).prepare()
    found = base_models.base_models(settings)
    database = Database(settings)
    try:
        schema.move(database)
        with transaction(database) as session:
            schema.take_turns(session.connection())
            keys.bootstrap_key(session, settings)
            base_models.register_base_models(session, found)
    finally:
        database.dispose()


def migrate_when_served(
    settings: Settings,
    *,
    seconds: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Migrate; while a server does not answer, try again for so many seconds. Other errors end it at once."""
    end = clock() + seconds
    while True:
        try:
            return migrate(settings)
        except (OperationalError, Unavailable) as error:
            if clock() >= end:
                raise
            log.info("waiting_for_servers", why=refusal(error), seconds_left=round(end - clock()))
        sleep(AGAIN_SECONDS)


def refusal(error: Exception) -> str:
    """Return one line for a person; never the values of settings, which may be secrets."""
    if isinstance(error, ValidationError):
        told = error.errors(include_input=False, include_url=False)
        return "; ".join(
            ": ".join([*(f"SPINDLE_{part}".upper() for part in each["loc"]), each["msg"]]) for each in told
        ).replace("Value error, ", "")
    if isinstance(error, SQLAlchemyError):
        reason = str(getattr(error, "orig", None) or type(error).__name__)
        return f"the database cannot be used: {reason.splitlines()[0]}"
    return " ".join(str(error).split())


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Return what the command was told."""
    parser = argparse.ArgumentParser(prog="python -m core.migrate", description=__doc__)
    parser.add_argument(
        "--wait",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="how long to wait for a database, queue or store that does not answer yet (default: not at all)",
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit code."""
    told = arguments(sys.argv[1:] if argv is None else argv)
    try:
        settings = Settings.load()
        configure_logs(settings)
        migrate_when_served(settings, seconds=told.wait)
    except (ValueError, OSError, AppError, SQLAlchemyError, CommandError) as error:
        sys.stderr.write(f"{refusal(error)}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
