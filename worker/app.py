"""The Celery side: a worker's doorbell tasks, and what the process does when it starts and stops."""

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import structlog
from celery import Celery, Task, signals
from opentelemetry.trace import SpanKind
from sqlalchemy.orm import Session

from core import drawing_claims
from core.db import transaction
from core.queue import DRAW, OWN, RUN_UNIT, SERVE, UNITS, celery_app, named
from core.runs import claims, reaping
from core.tracing import TRACEPARENT, span
from worker.easel import easel_for
from worker.maintenance import Ear, leave, pulse
from worker.serve import Studio
from worker.signing import earliest_end, signing_for
from worker.units import run_units
from worker.workplace import Workplace

log = structlog.get_logger(__name__)

# The rest, early acknowledgement and one message at a time among it, is the same for who sends: core.queue.
OPTIONS = {"worker_pool": "threads", "worker_concurrency": 1, "worker_redirect_stdouts": False}


def work_on_units(place: Workplace) -> int:
    """Serve the queues of the worker's kinds of units until SIGTERM; return the exit code."""

    def pending(session: Session) -> str | None:
        found = claims.anything_pending(session, worker=place.name, kinds=place.kinds, has=place.has)
        return RUN_UNIT[place.kinds[0]] if found else None

    queues = {UNITS[kind]: RUN_UNIT[kind] for kind in place.kinds}
    try:
        return _work(place, queues, pending, lambda: run_units(place), place.warm.stop_when_idle)
    finally:
        place.warm.stop()


def work_on_drawings(place: Workplace) -> int:
    """Serve the queue of drawings until SIGTERM; return the exit code.

    Raises:
        worker.signing.Unusable: pictures are to be signed with a key that signs nothing.
    """
    signing = signing_for(place.settings, place.database, place.folder)
    if signing is not None:
        place.meters.certificate(what="c2pa", expires=earliest_end(signing.certificates))
    studio = Studio(place, easel_for(place), signing)

    def pending(session: Session) -> str | None:
        return DRAW if drawing_claims.anything_pending(session) else None

    return _work(
        place, {SERVE: DRAW}, pending, studio.ring, studio.rest, begin=studio.start, end=studio.finish
    )


def _work(
    place: Workplace,
    queues: Mapping[str, str],
    pending: Callable[[Session], str | None],
    run: Callable[[], object],
    also: Callable[[], object],
    *,
    begin: Callable[[], object] = lambda: None,
    end: Callable[[], object] = lambda: None,
) -> int:
    app = celery_app(place.settings)
    app.conf.update(OPTIONS)
    own = f"{OWN}{place.name}"
    app.conf.task_queues = [*app.conf.task_queues, named(own)]
    ear = Ear(place, pending=pending, ring=lambda task: place.database.bell.ring(task, "look", queue=own))

    def doorbell(task: Task, payload: str) -> None:
        log.debug("doorbell", payload=payload)
        _note_heard(task, payload)
        with ear.awake():
            run()

    for task in queues.values():
        app.task(doorbell, name=task, bind=True)
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
        given_back += drawing_claims.give_back(session, worker=place.name)
    log.info("worker_starts", worker=place.name, queues=list(queues), given_back=given_back)
    begin()
    try:
        return _celery(app, place, [*queues, own])
    finally:
        end()
        leave(place)


def _note_heard(task: Task, payload: str) -> None:
    """Add to the trace that a message was heard, where it carries one."""
    heard = {TRACEPARENT: told} if (told := task.request.get(TRACEPARENT)) else None
    if heard is not None:
        with span(f"hear {task.name}", origin=heard, role=SpanKind.CONSUMER, payload=payload):
            log.debug("doorbell_traced")


def _celery(app: Celery, place: Workplace, queues: Iterable[str]) -> int:
    options = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "INFO"]
    try:
        code = app.worker_main(["--quiet", "worker", "-Q", ",".join(queues), "-n", place.name, *options])
    except SystemExit as end:
        code = end.code
    finally:
        place.draining.set()
    return code if isinstance(code, int) else 0
