"""``--once``: one unit, then the end; for an autoscaler that starts a process for each unit.

It waits for no doorbell: it was started because there is work, and looks for it by itself. But it takes one
from each of its queues, where nobody may be listening: they would pile up there, one for each unit ever run.
"""

import signal
import threading
import time

import structlog

from core.db import transaction
from core.queue import UNITS
from core.runs import reaping
from worker.maintenance import HEARTBEAT_SECONDS, LOOK_SECONDS, heartbeat, leave
from worker.rounds import perform
from worker.units import run_units
from worker.workplace import Workplace

log = structlog.get_logger(__name__)

PATIENCE_SECONDS = 60.0


def work_once(place: Workplace, *, patience_seconds: float = PATIENCE_SECONDS) -> int:
    """Run the next unit and return the exit code; SIGTERM gives it back at a checkpoint.

    The code is 0 however the unit ended, for that is written where others look for it, and when there was
    none: another worker was faster.

    Args:
        place: this worker.
        patience_seconds: how long to look for a unit.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: place.draining.set())
    with transaction(place.database) as session:
        given_back = reaping.give_back(session, worker=place.name)
    log.info("worker_starts", worker=place.name, once=True, given_back=given_back)
    for kind in place.kinds:
        place.database.bell.answer(UNITS[kind])
    over = threading.Event()
    heart = threading.Thread(target=_beat, args=(place, over), name="pulse", daemon=True)
    heart.start()
    try:
        done = _look(place, until=time.monotonic() + patience_seconds)
        log.info("worker_stops", units=done)
    finally:
        over.set()
        heart.join()
        place.warm.stop()
        leave(place)
    return 0


def _beat(place: Workplace, over: threading.Event) -> None:
    beats = (HEARTBEAT_SECONDS, "heartbeat", lambda: heartbeat(place))
    perform([beats], over, watched=place.meters, around=place.vitals.went_round)
    place.vitals.rest()


def _look(place: Workplace, *, until: float) -> int:
    """Run a unit as soon as there is one; return how many were run, 0 or 1."""
    while not (done := run_units(place, most=1)):
        if time.monotonic() >= until or place.draining.wait(LOOK_SECONDS):
            break
    return done
