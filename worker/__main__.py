"""``python -m worker``: one worker process."""

import argparse
import signal
import sys

from core.logs import configure_logs
from core.models import DEFAULT_QUEUE, UnitKind
from core.settings import get_settings
from core.tracing import configure_tracing
from worker.capabilities import capabilities
from worker.maintenance import beat
from worker.monitor import PortTaken, start_monitor
from worker.team import team_for
from worker.workplace import Unusable, Workplace, open_workplace

EX_CONFIG = 78
ROLES = """\
units   claims work units, of all kinds or of some, and runs each in its own process
serve   draws the pictures asked for through the API, in batches, in one warm process
beat    sends messages that were lost, gives the units of lost workers to others
"""


def options() -> argparse.ArgumentParser:
    """Return what reads a worker's command line."""
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
    parser.add_argument(
        "--once", action="store_true", help="units only: run one unit, wait at most a minute for it, and end"
    )
    parser.add_argument(
        "--nodes",
        type=int,
        default=1,
        help="units only: train a unit together with so many workers in all, of the same queue and --nodes",
    )
    parser.add_argument(
        "--processes",
        default="auto",
        help="units only: processes of a training, each on a GPU of its own (default: all GPUs; on cpu 1)",
    )
    parser.add_argument(
        "--address",
        default="auto",
        help="units only, with --nodes: where other workers reach this one (default: its address towards the "
        "database)",
    )
    parser.add_argument(
        "--port",
        type=int,
        default=0,
        help="units only: where processes of a training meet (default: whichever is free)",
    )
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run one worker until SIGTERM and return the exit code."""
    parser = options()
    given = parser.parse_args(arguments)
    try:
        kinds = kinds_of(given.kinds, but=given.others)
    except ValueError as error:
        parser.error(f"{error}; choose among {', '.join(UnitKind)}")
    try:
        has = capabilities(given.queues, given.device, given.memory, given.nodes)
    except ValueError as error:
        parser.error(str(error))
    settings = get_settings()
    try:
        team = team_for(
            has,
            processes=given.processes,
            address=given.address,
            port=given.port,
            database_url=settings.database_url,
        )
    except ValueError as error:
        parser.error(str(error))
    configure_logs(settings)
    configure_tracing(settings, service=f"spindle-{given.role}")
    place = open_workplace(settings, given.role, kinds=kinds, has=has, team=team)
    try:
        start_monitor(place)
        return work(place, once=given.once)
    except (PortTaken, Unusable) as error:
        place.lock.close()
        place.database.dispose()
        parser.exit(EX_CONFIG, f"{error}\n")


def work(place: Workplace, *, once: bool) -> int:
    """Do what a worker of its kind does until SIGTERM, or ``once``, and return the exit code.

    Raises:
        Unusable: pictures are to be signed with a key that signs nothing.
    """
    if place.kind == "beat":
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: place.draining.set())
        beat(place)
        return 0
    # Not at the top: the beat runs in the api's image, which holds nothing that draws and signs.
    from worker.app import work_on_drawings, work_on_units  # noqa: PLC0415
    from worker.once import work_once  # noqa: PLC0415  # likewise

    if place.kind == "serve":
        return work_on_drawings(place)
    return work_once(place) if once else work_on_units(place)


def kinds_of(chosen: str, *, but: str) -> tuple[UnitKind, ...]:
    """Return the kinds that are chosen, but for those left to others; ValueError when a word is none."""
    left = {UnitKind(kind) for kind in but.split(",") if but}
    kinds = tuple(kind for kind in map(UnitKind, chosen.split(",")) if kind not in left)
    if not kinds:
        raise ValueError("no kind of unit is left to claim")
    return kinds


if __name__ == "__main__":
    sys.exit(main())
