"""What keeps the platform going when messages or workers are lost: the beat, and each worker's pulse.

Neither goes through the queue, because they repair what the queue loses; any number of beats may run.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from core import audit, drawing_tallies, drawings, files, idempotency, outbox, sessions, tallies, workers
from core.comparisons import ballots, drawing
from core.db import transaction
from core.runs import candidates, garbage, leftovers, preemption, reaping, seats
from core.transfers import exports
from core.uploads import leftovers as upload_leftovers
from core.webhooks import deliveries, endpoints
from worker import webhooks
from worker.rounds import Duty, perform
from worker.workplace import Workplace

log = structlog.get_logger(__name__)

RELAY_SECONDS = 2.0
REAP_SECONDS = 5.0
COUNT_SECONDS = 5.0
PREEMPT_SECONDS = 1.0
HEARTBEAT_SECONDS = 5.0
PURGE_SECONDS = 60.0
COMPARE_SECONDS = 1.0
SWEEP_SECONDS = 600.0
LOST_SECONDS = 24 * 3600.0
LOOK_SECONDS = 1.0
RING_AGAIN_SECONDS = 10.0
DEAF_SECONDS = 60.0
EX_UNAVAILABLE = 69


def beat(place: Workplace) -> None:
    """Send what the outbox owes, give lost workers' units to others, and tidy up, until the place drains.

    Tidying and comparing wait for the store, which may be slow or away, and telling for other people's
    servers: they have threads of their own, so that nothing else waits with them.
    """

    def reap() -> None:
        with transaction(place.database) as session:
            candidates.adopt(session)
        with transaction(place.database) as session:
            reaping.reap(session)
        with transaction(place.database) as session:
            seats.sweep(session)

    def expire_drawings() -> None:
        with transaction(place.database) as session:
            drawings.expire(session)

    def make_way() -> None:
        with transaction(place.database) as session:
            preemption.make_way(session)

    tidying = threading.Thread(
        target=perform,
        args=(chores(place), place.draining),
        kwargs={"watched": place.meters},
        name="tidying",
        daemon=True,
    )
    tidying.start()
    telling = threading.Thread(target=webhooks.tell, args=(place,), name="telling", daemon=True)
    telling.start()
    comparing = threading.Thread(target=compare, args=(place,), name="comparing", daemon=True)
    comparing.start()
    perform(
        [
            (HEARTBEAT_SECONDS, "heartbeat", lambda: heartbeat(place)),
            (RELAY_SECONDS, "relay", lambda: outbox.relay(place.database, place.settings)),
            (REAP_SECONDS, "reap", reap),
            (REAP_SECONDS, "expire_drawings", expire_drawings),
            (COUNT_SECONDS, "count_attempts", lambda: tallies.count_attempts(place.database)),
            (COUNT_SECONDS, "count_drawings", lambda: drawing_tallies.count_drawings(place.database)),
            (PREEMPT_SECONDS, "make_way", make_way),
        ],
        place.draining,
        watched=place.meters,
        around=place.vitals.went_round,
    )


def compare(place: Workplace) -> None:
    """Take in what is drawn for comparisons, and have more drawn, until the place drains."""
    look = (COMPARE_SECONDS, "compare", lambda: drawing.keep_up(place.database, place.store))
    perform([look], place.draining, watched=place.meters)


def chores(place: Workplace) -> list[Duty]:
    """Return what keeps rows and objects from piling up."""
    database, store = place.database, place.store

    def sweep() -> None:
        with transaction(database) as session:
            audit.sweep(session, days=place.settings.audit_days)
            idempotency.sweep(session)
            sessions.sweep(session)
            workers.sweep(session)
            deliveries.sweep(session)
            endpoints.forget_old_secrets(session)
            ballots.sweep(session)

    def forget_models() -> None:
        with transaction(database) as session:
            garbage.forget_models(session)

    def forget_exports() -> None:
        with transaction(database) as session:
            exports.forget_unused(session)

    return [
        (PURGE_SECONDS, "expire_uploads", lambda: upload_leftovers.expire(database)),
        (PURGE_SECONDS, "clear_uploads", lambda: upload_leftovers.clear(database, store)),
        (PURGE_SECONDS, "expire_files", lambda: files.expire(database)),
        (PURGE_SECONDS, "purge_files", lambda: files.purge(database, store)),
        (PURGE_SECONDS, "purge_drawings", lambda: drawings.purge(database, store)),
        (PURGE_SECONDS, "forget_models", forget_models),
        (PURGE_SECONDS, "forget_exports", forget_exports),
        (PURGE_SECONDS, "clear_leftovers", lambda: leftovers.clear(database, store)),
        (SWEEP_SECONDS, "sweep", sweep),
        (LOST_SECONDS, "clear_lost_uploads", lambda: files.clear_lost(database, store)),
        (LOST_SECONDS, "clear_lost_parts", lambda: upload_leftovers.clear_lost(database, store)),
        (LOST_SECONDS, "sweep_objects", lambda: garbage.sweep(database, store)),
    ]


def heartbeat(place: Workplace, *, unheard_seconds: float | None = None) -> None:
    """Tell that this worker lives, and whether it hears its queue."""
    with transaction(place.database) as session:
        told: dict[str, Any] = {"name": place.name, "kind": place.kind, "unheard_seconds": unheard_seconds}
        if place.kind == "units":
            told |= {"kinds": place.kinds, "has": place.has}
        workers.heartbeat(session, **told)


def leave(place: Workplace) -> None:
    """Say that nobody need wait for this worker; if the database is away, its silence says so."""
    try:
        with transaction(place.database) as session:
            workers.leave(session, name=place.name)
    except SQLAlchemyError as error:
        log.warning("worker_left_unsaid", error=type(error).__name__)


class Ear:
    """Rings the worker's own bell for work whose message was lost; notices a consumer that hears no more.

    Lost is also what rang for a worker that could not do it: for want of a GPU, or on another queue. Only an
    idle worker rings, so messages never pile up behind a long unit.

    Args:
        pending: the task whose doorbell stands for work that this worker could do now; None without any.
        ring: sends a doorbell of that task.
        deaf: what to do when nothing was heard for ``DEAF_SECONDS``: a Celery consumer can lose its queue for
            ever after a broker's restart (celery #8030, #10205); drop this when those are solved.
    """

    def __init__(
        self,
        place: Workplace,
        *,
        pending: Callable[[Session], str | None],
        ring: Callable[[str], object],
        deaf: Callable[[], object] = lambda: os._exit(EX_UNAVAILABLE),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._place = place
        self._pending = pending
        self._ring = ring
        self._deaf = deaf
        self._clock = clock
        self._busy = threading.Lock()
        self._first: float | None = None
        self._last = 0.0

    @contextmanager
    def awake(self) -> Iterator[None]:
        """Surround the work that a doorbell starts."""
        self._first = None
        with self._busy:
            yield

    def unheard(self) -> float | None:
        """Return for how many seconds work has been waiting here without a message; None without any."""
        first = self._first
        return None if first is None else self._clock() - first

    def look(self) -> None:
        """Ring if there is work and nobody here does any."""
        if self._busy.locked() or self._place.draining.is_set():
            return
        with transaction(self._place.database) as session:
            task = self._pending(session)
        if task is None:
            self._first = None
            return
        now = self._clock()
        if self._first is None:
            self._first = now
        elif now - self._first > DEAF_SECONDS:
            log.critical("worker_deaf", seconds=now - self._first)
            self._deaf()
        elif now - self._last < RING_AGAIN_SECONDS:
            return
        self._last = now
        self._ring(task)


def pulse(place: Workplace, ear: Ear, also: Callable[[], object]) -> None:
    """Tell that this worker lives and look for forgotten work, until the place drains."""
    place.vitals.listen(ear.unheard)
    perform(
        [
            (HEARTBEAT_SECONDS, "heartbeat", lambda: heartbeat(place, unheard_seconds=ear.unheard())),
            (LOOK_SECONDS, "look", ear.look),
            (LOOK_SECONDS, "also", also),
        ],
        place.draining,
        watched=place.meters,
        around=place.vitals.went_round,
    )
    place.vitals.rest()
