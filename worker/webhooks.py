"""The beat tells projects of their events: it looks once a second who is owed something, and sends it.

Several endpoints at once, each in a thread that ends with its turn, so that one that is slow or away holds up
no other. The threads end with the process: what they were sending is sent again when the lease is over.
"""

import random
import threading
import time
from collections.abc import Callable

import structlog

from core.db import Database, transaction
from core.errors import StaleFence
from core.settings import Settings
from core.webhooks import sending
from core.webhooks.addresses import Resolver, resolve
from core.webhooks.message import send
from core.webhooks.post import Outcome
from worker.rounds import perform
from worker.workplace import Workplace

log = structlog.get_logger(__name__)

LOOK_SECONDS = 1.0
SENDERS = 8
TURN_SECONDS = 20.0


def tell(place: Workplace) -> None:
    """Send what is owed until the place drains."""
    free = threading.BoundedSemaphore(SENDERS)
    stop = place.draining

    def serve(claim: sending.Claim) -> None:
        try:
            take_turn(place.database, place.settings, claim, go_on=lambda: not stop.is_set())
        except Exception:  # a thread has nobody to raise to; the lease ends and another tries
            log.exception("webhooks_failed", endpoint=claim.endpoint_id)
        finally:
            free.release()

    def look() -> None:
        while not stop.is_set() and free.acquire(blocking=False):
            claim = None
            try:
                with transaction(place.database) as session:
                    claim = sending.claim_endpoint(session)
            finally:
                if claim is None:
                    free.release()
            if claim is None:
                return
            threading.Thread(target=serve, args=(claim,), name=claim.endpoint_id, daemon=True).start()

    perform([(LOOK_SECONDS, "tell", look)], stop, watched=place.meters)


def take_turn(
    database: Database,
    settings: Settings,
    claim: sending.Claim,
    *,
    go_on: Callable[[], bool] = lambda: True,
    resolver: Resolver = resolve,
) -> list[Outcome]:
    """Send what a claimed endpoint is owed, until nothing is due, one fails, or its turn is over.

    Returns:
        What came of each request.
    """
    outcomes: list[Outcome] = []
    end = time.monotonic() + TURN_SECONDS
    try:
        while go_on() and time.monotonic() < end:
            with transaction(database) as session:
                message = sending.next_message(session, claim)
            if message is None:
                break
            outcome = send(message, settings=settings, resolver=resolver)
            with transaction(database) as session:
                sending.record(session, claim, message, outcome, jitter=random.random())
            outcomes.append(outcome)
            if not outcome.delivered:
                break  # the others would fail alike, each for as long as this one
    except StaleFence:
        log.info("webhooks_lost", endpoint=claim.endpoint_id)
    finally:
        with transaction(database) as session:
            sending.release(session, claim)
    return outcomes
