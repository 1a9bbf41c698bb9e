"""``python -m worker``: one worker process."""

import argparse
import signal
import sys

from core.logs import configure_logs
from core.models import DEFAULT_QUEUE, UnitKind
from core.settings import get_settings
from core.tracing import configure_tracing
from worker.app import work_on_drawings, work_on_units
from worker.capabilities import capabilities
from worker.maintenance import beat
from worker.workplace import open_workplace

ROLES = """\
units   claims work units, of all kinds or of some, and runs each in its own process
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
    parser.add_argument(
        "--except", dest="others", default="", help="units only: kinds to leave to other workers"
    )
    parser.add_argument(
        "--queues",
        default=DEFAULT_QUEUE,
        help="units only: the queues to serve, with commas between (default: %(default)s)",
    )
    parser.add_argument(
        "--device", default="auto", help="units only: cpu, gpu, or auto: a GPU where the driver tells of one"
    )
    parser.add_argument(
        "--memory", default="auto", help="units only: memory of the device, such as 24GB (default: found out)"
    )
    given = parser.parse_args(arguments)
    try:
        kinds = kinds_of(given.kinds, but=given.others)
    except ValueError as error:
        parser.error(f"{error}; choose among {', '.join(UnitKind)}")
    try:
        has = capabilities(given.queues, given.device, given.memory)
    except ValueError as error:
        parser.error(str(error))
    settings = get_settings()
    configure_logs(settings)
    configure_tracing(settings, service=f"spindle-{given.role}")
    place = open_workplace(settings, given.role, kinds=kinds, has=has)
    match given.role:
        case "units":
            return work_on_units(place)
        case "serve":
            return work_on_drawings(place)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: place.draining.set())
    beat(place)
    return 0


def kinds_of(chosen: str, *, but: str) -> tuple[UnitKind, ...]:
    """Return the kinds that are chosen, but for those left to others; ValueError when a word is none."""
    left = {UnitKind(kind) for kind in but.split(",") if but}
    kinds = tuple(kind for kind in map(UnitKind, chosen.split(",")) if kind not in left)
    if not kinds:
        raise ValueError("no kind of unit is left to claim")
    return kinds


if __name__ == "__main__":
    sys.exit(main())
