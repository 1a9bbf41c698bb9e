"""The Celery side: one doorbell task a worker, and what the process does when it starts and stops."""

import threading
from collections.abc import Callable
from typing import Any

import structlog
from celery import Celery, signals
from sqlalchemy.orm import Session

from core import drawings
from core.db import transaction
from core.queue import DRAW, RUN_UNIT, SERVE, UNITS, celery_app
from core.runs import claims, reaping
from worker.maintenance import Ear, pulse
from worker.serve import IDLE_SECONDS, Easel, run_drawings
from worker.units import run_units
from worker.workplace import Workplace

log = structlog.get_logger(__name__)

# The rest, early acknowledgement and one message at a time among it, is the same for who sends: core.queue.
OPTIONS = {"worker_pool": "threads", "worker_concurrency": 1, "worker_redirect_stdouts": False}


def work_on_units(place: Workplace) -> int:
    """Serve the queue of units until SIGTERM; return the exit code."""

    def pending(session: Session) -> bool:
        return claims.anything_pending(session, kinds=place.kinds)

    return _work(place, UNITS, RUN_UNIT, pending, lambda: run_units(place), lambda: None)


def work_on_drawings(place: Workplace) -> int:
    """Serve the queue of drawings until SIGTERM; return the exit code."""
    easel = Easel(place.folder)
    try:
        return _work(
            place,
            SERVE,
            DRAW,
            drawings.anything_pending,
            lambda: run_drawings(place, easel),
            lambda: easel.stop(idle=IDLE_SECONDS),
        )
    finally:
        easel.stop()


def _work(
    place: Workplace,
    queue: str,
    task: str,
    pending: Callable[[Session], bool],
    run: Callable[[], object],
    also: Callable[[], object],
) -> int:
    app = celery_app(place.settings)
    app.conf.update(OPTIONS)
    ear = Ear(place, pending=pending, ring=lambda: place.database.bell.ring(task, "look"))

    @app.task(name=task)
    def doorbell(payload: str) -> None:
        log.debug("doorbell", payload=payload)
        with ear.awake():
            run()

    heart = threading.Thread(target=pulse, args=(place, ear, also), name="pulse", daemon=True)

    def ready(**_: Any) -> None:
        heart.start()

    def stopping(**_: Any) -> None:
        log.info("worker_stops")
        place.draining.set()

    signals.worker_ready.connect(ready, weak=False)
    signals.worker_shutting_down.connect(stopping, weak=False)
    with transaction(place.database) as session:
        given_back = reaping.give_back(session, worker=place.name)
        given_back += drawings.give_back(session, worker=place.name)
    log.info("worker_starts", worker=place.name, queue=queue, given_back=given_back)
    return _celery(app, place, queue)


def _celery(app: Celery, place: Workplace, queue: str) -> int:
    options = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "INFO"]
    try:
        code = app.worker_main(["--quiet", "worker", "-Q", queue, "-n", place.name, *options])
    except SystemExit as end:
        code = end.code
    finally:
        place.draining.set()
    return code if isinstance(code, int) else 0
