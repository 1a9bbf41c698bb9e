"""``python -m worker``: one worker process."""

import argparse
import signal
import sys

from core.logs import configure_logs
from core.models import UnitKind
from core.settings import get_settings
from worker.app import work_on_drawings, work_on_units
from worker.maintenance import beat
from worker.workplace import open_workplace

ROLES = """\
units   claims work units and runs each in its own process: encode, generate, train, evaluate, publish, ingest
serve   draws the pictures asked for through the API, in one warm process
beat    sends messages that were lost, gives the units of lost workers to others
"""


def main(arguments: list[str] | None = None) -> int:
    """Run one worker until SIGTERM and return the exit code."""
    parser = argparse.ArgumentParser(
        "python -m worker",
        description="Run one worker process. SIGTERM writes a checkpoint, gives the unit back and ends.",
        epilog=ROLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("role", choices=("units", "serve", "beat"))
    parser.add_argument(
        "--kinds",
        default=",".join(UnitKind),
        help="units only: the kinds to claim, with commas between (default: %(default)s)",
    )
    given = parser.parse_args(arguments)
    try:
        kinds = tuple(UnitKind(kind) for kind in given.kinds.split(","))
    except ValueError as error:
        parser.error(f"--kinds: {error}; choose among {', '.join(UnitKind)}")
    settings = get_settings()
    configure_logs(settings)
    place = open_workplace(settings, given.role, kinds=kinds)
    match given.role:
        case "units":
            return work_on_units(place)
        case "serve":
            return work_on_drawings(place)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: place.draining.set())
    beat(place)
    return 0


if __name__ == "__main__":
    sys.exit(main())
