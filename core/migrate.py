"""``python -m core.migrate``: brings the database, the base models, the store and the first key up to date.

It may run again at any time, and by several processes at once.
"""

import sys

from alembic.util import CommandError
from pydantic import ValidationError
from sqlalchemy.exc import SQLAlchemyError

from core import keys, registry, schema
from core.db import Database, transaction
from core.errors import AppError
from core.logs import configure_logs
from core.queue import check_broker
from core.settings import Settings
from core.storage.store import store_for


def migrate(settings: Settings) -> None:
    """Do it all; the error that stops it names what to mend."""
    check_broker(settings)
    store_for(settings).prepare()
    base_models = registry.base_models(settings)
    database = Database(settings)
    try:
        schema.move(database)
        with transaction(database) as session:
            keys.bootstrap_key(session, settings)
            registry.register_base_models(session, base_models)
    finally:
        database.dispose()


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


def main() -> int:
    """Return the exit code."""
    try:
        settings = Settings.load()
        configure_logs(settings)
        migrate(settings)
    except (ValueError, OSError, AppError, SQLAlchemyError, CommandError) as error:
        sys.stderr.write(f"{refusal(error)}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
