"""What is done with pictures that were drawn, while others are: signed, uploaded, told of in the database."""

import shutil
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import structlog
from opentelemetry.trace import SpanKind
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from core import drawing_claims
from core.db import transaction
from core.drawing_claims import DrawingClaim
from core.errors import StaleFence, StoreUnavailable
from core.tracing import mark_failed, note_span, request_of, span
from worker.attempt import insist
from worker.child import Line
from worker.hands import Hands, Held
from worker.lease import Order
from worker.outcome import Failure, failure_of
from worker.signing import Signing
from worker.workplace import Workplace

log = structlog.get_logger(__name__)

T = TypeVar("T")
THREADS = 8
GLIMPSES_LOST = (OSError, ValueError, SQLAlchemyError, StaleFence, StoreUnavailable)


class Finishing:
    """Threads that bring drawings to their end; what concerns one drawing is done in order."""

    def __init__(self, place: Workplace, hands: Hands, signing: Signing | None) -> None:
        self._place = place
        self._hands = hands
        self._signing = signing
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="finishing")
        self._todo: dict[Held, deque[Callable[[], None]]] = {}
        self._guard = threading.Lock()

    def show(self, held: Held, line: Line) -> None:
        """Let a picture on its way be seen."""
        self._in_turn(held, lambda: self._show(held, line))

    def finish(self, held: Held, line: Line, *, heard: int) -> None:
        """Let the pictures of a drawing be seen, which is its end; ``heard`` is when, in nanoseconds."""

        def write() -> None:
            _note_drawing(held, line, heard=heard)
            self._finish(held, line)

        self._in_turn(held, lambda: self._end(held, write))

    def fail(self, held: Held, failed: Failure) -> None:
        """Write that a drawing came to nothing, or is to be tried by another."""
        self._in_turn(held, lambda: self._end(held, lambda: self._fail(held, failed)))

    def drop(self, held: Held) -> None:
        """Hold a drawing no longer that is not ours any more."""
        self._in_turn(held, lambda: self._end(held, lambda: log.info("drawing_dropped")))

    def close(self) -> None:
        """Wait until everything is done."""
        self._pool.shutdown(wait=True)

    def _in_turn(self, held: Held, work: Callable[[], None]) -> None:
        with self._guard:
            waiting = self._todo.setdefault(held, deque())
            waiting.append(work)
            if len(waiting) == 1:
                self._pool.submit(self._do, held)

    def _do(self, held: Held) -> None:
        told: dict[str, Any] = {"drawing": held.claim.drawing_id, "fence": held.claim.fence}
        with structlog.contextvars.bound_contextvars(**told, **request_of(held.claim.origin)):
            while True:
                try:
                    self._todo[held][0]()
                except Exception:
                    log.exception("drawing_not_finished")
                with self._guard:
                    self._todo[held].popleft()
                    if not self._todo[held]:
                        del self._todo[held]
                        return

    def _show(self, held: Held, line: Line) -> None:
        if held.order is not Order.go_on:
            return
        key = f"{held.claim.prefix}/{line['file']}"
        try:
            self._place.store.put_file(key, held.out / line["file"])
            partials = [*held.partials, {"picture": line["picture"], "index": line["index"], "key": key}]
            with transaction(self._place.database) as session:
                drawing_claims.show_partials(session, held.claim, partials)
        except GLIMPSES_LOST as error:  # nobody is the worse for a look that he did not get
            log.warning("partial_not_shown", error=type(error).__name__)
            return
        held.partials = partials

    def _end(self, held: Held, write: Callable[[], object]) -> None:
        claim = held.claim
        told = {"drawing": claim.drawing_id, "fence": claim.fence}
        try:
            with span("drawing", origin=claim.origin, role=SpanKind.CONSUMER, began=held.claimed_ns, **told):
                write()
        except StaleFence:
            log.warning("drawing_lost")
        finally:
            shutil.rmtree(held.scratch, ignore_errors=True)
            self._hands.drop(held)

    def _finish(self, held: Held, line: Line) -> None:
        try:
            with span("upload", files=len(line["files"])):
                files = [self._kept(held, name) for name in line["files"]]
        except (OSError, ValueError) as error:
            log.exception("drawing_broke")
            self._fail(held, failure_of(error))
            return
        self._write(
            held,
            lambda session, claim: drawing_claims.finish_drawing(
                session, claim, files=files, seconds=line["seconds"], together=line["together"]
            ),
        )
        log.info("drawing_finished", seconds=line["seconds"], together=line["together"])

    def _kept(self, held: Held, name: str) -> dict[str, Any]:
        """Sign a picture if it is to be, put it into the store, and return its entry of a manifest."""
        path: Path = held.out / name
        if self._signing is not None:
            path = self._signing.signed(held.claim, path)
        key = f"{held.claim.prefix}/{name}"
        stored = insist(
            lambda: self._place.store.put_file(key, path), order=lambda: held.order, until=Order.timeout
        )
        return {"path": name, "key": key, "sha256": stored.sha256, "size": stored.size}

    def _fail(self, held: Held, failed: Failure) -> None:
        if held.order is Order.lost:
            log.info("drawing_dropped")
            return
        log.info("drawing_failed", reason=failed.reason)
        mark_failed(failed.reason, failed.message)
        self._write(
            held,
            lambda session, claim: drawing_claims.fail_drawing(
                session, claim, reason=failed.reason, message=failed.message
            ),
        )

    def _write(self, held: Held, work: Callable[[Session, DrawingClaim], T]) -> T:
        def once() -> T:
            with transaction(self._place.database) as session:
                return work(session, held.claim)

        return insist(once, order=lambda: held.order, until=Order.lost)


def _note_drawing(held: Held, line: Line, *, heard: int) -> None:
    """Add to the trace what has been done so far: inputs staged, and the batch that it was drawn in."""
    note_span("stage", began=held.claimed_ns, ended=held.sent_ns)
    batch = note_span("batch", began=held.sent_ns, ended=heard, together=line["together"])
    drawing = int(line["seconds"] * 1e9)
    began = max(held.sent_ns, heard - drawing)  # another batch may have been drawn first
    note_span("draw", began=began, ended=heard, inside=batch, pictures=len(line["files"]))
