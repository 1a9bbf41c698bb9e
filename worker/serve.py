"""Drawing: one warm ``python -m spin_engine serve`` child a worker, started when needed."""

import shutil
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import structlog
from opentelemetry.trace import SpanKind

from core import drawings
from core.db import transaction
from core.drawings import DrawingClaim
from core.errors import StaleFence
from core.sources import Source
from core.tracing import span
from worker import records, staging
from worker.attempt import Attempt
from worker.child import Child, Ending, Line, environment
from worker.lease import Lease, Order
from worker.outcome import Failure, failure, without_secrets
from worker.staging import Interrupted
from worker.workplace import Workplace

log = structlog.get_logger(__name__)

COMMAND = (sys.executable, "-m", "spin_engine", "serve")
HEAR_SECONDS = 0.5
TRIES = 2  # the warm child may have been killed while nobody drew: that is not the picture's fault


class Died(Exception):  # noqa: N818  tells how
    """The drawing process ended instead of answering."""

    def __init__(self, ending: Ending) -> None:
        super().__init__("the drawing process ended")
        self.ending = ending


class Easel:
    """The warm child of this worker, if there is one."""

    def __init__(self, folder: Path, command: Sequence[str] = COMMAND) -> None:
        self._folder = folder
        self._command = list(command)
        self._child: Child | None = None
        self._used = time.monotonic()
        self._guard = threading.Lock()

    def draw(self, request: Line, *, seconds: float, lease: Lease) -> Line:
        """Return the child's answer to a request, starting the child if none is warm.

        Raises:
            Died: the child ended first, of itself or because the lease ordered it.
            TimeoutError: no answer within ``seconds``; the child is gone.
        """
        with self._guard:
            try:
                return self._ask(request, seconds, lease)
            except BaseException:
                self._end()
                raise
            finally:
                self._used = time.monotonic()

    def stop(self, *, idle: float = 0.0) -> None:
        """Stop the child if nobody has drawn for so many seconds, or is drawing."""
        if time.monotonic() - self._used >= idle and self._guard.acquire(blocking=False):
            try:
                self._end()
            finally:
                self._guard.release()

    def _ask(self, request: Line, seconds: float, lease: Lease) -> Line:
        if self._child is None:
            self._child = Child(
                self._command,
                env=environment(),
                folder=self._folder,
                stdin=True,
            )
            log.info("drawing_process_started", pid=self._child.pid)
        child = self._child
        lease.guard(child)
        deadline = time.monotonic() + seconds
        try:
            child.say(request)
        except BrokenPipeError:
            raise self._died() from None
        while True:
            lines, more = child.hear(HEAR_SECONDS)
            for line in lines:
                if line.get("id") == request["id"]:
                    return line
            if not more:
                raise self._died()
            if time.monotonic() > deadline:
                raise TimeoutError

    def _died(self) -> Died:
        ending = self._end()
        assert ending is not None
        return Died(ending)

    def _end(self) -> Ending | None:
        child, self._child = self._child, None
        if child is None:
            return None
        if child.hear(0.0)[1]:
            child.kill()
        ending = child.wait()
        log.info("drawing_process_ended", code=ending.code, signal=ending.signal)
        return ending


def run_drawings(place: Workplace, easel: Easel) -> int:
    """Draw until nothing is left to draw or the worker has to stop; return how many drawings were tried."""
    done = 0
    while not place.draining.is_set():
        with transaction(place.database) as session:
            claim = drawings.claim_drawing(
                session, worker=place.name, lease_seconds=place.settings.lease_seconds
            )
        if claim is None:
            break
        run_drawing(place, easel, claim)
        done += 1
    return done


def run_drawing(place: Workplace, easel: Easel, claim: DrawingClaim) -> None:
    """Draw one request and write its pictures or its failure; a claim that was lost writes nothing."""
    told: dict[str, Any] = {"drawing": claim.drawing_id, "fence": claim.fence}
    with structlog.contextvars.bound_contextvars(**told), span("drawing", role=SpanKind.CONSUMER, **told):
        scratch = place.scratch(f"{claim.drawing_id}-{claim.fence}")
        try:
            with _lease(place, claim) as lease:
                _run(Attempt(place, claim, lease, scratch), easel)
        except StaleFence:
            log.warning("drawing_lost")
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _lease(place: Workplace, claim: DrawingClaim) -> Lease:
    def renew() -> bool:
        with transaction(place.database) as session:
            return drawings.renew_drawing(session, claim)

    # A drawing takes seconds: a worker that has to stop finishes the one it is at.
    return Lease(
        renew=renew,
        wish=lambda: Order.go_on,
        seconds=place.settings.lease_seconds,
        draining=threading.Event(),
        grace=0.0,
    )


def _run(attempt: Attempt[DrawingClaim], easel: Easel) -> None:
    try:
        outcome = _draw(attempt, easel)
        if isinstance(outcome, Failure):
            failed = outcome
        else:
            files = records.upload(attempt, attempt.scratch / "out", attempt.claim.prefix)
            by_path = {file["path"]: file for file in files}
            drawn = [by_path[name] for name in outcome["files"]]
            attempt.write(
                lambda session, claim: drawings.finish_drawing(
                    session, claim, files=drawn, seconds=outcome["seconds"]
                )
            )
            return
    except Interrupted:
        return
    except (OSError, ValueError) as error:
        log.exception("drawing_broke")
        failed = Failure("internal", without_secrets(f"{type(error).__name__}: {error}"))
    if attempt.lease.order is not Order.lost:
        log.info("drawing_failed", reason=failed.reason)
        attempt.write(
            lambda session, claim: drawings.fail_drawing(
                session, claim, reason=failed.reason, message=failed.message
            )
        )


def _draw(attempt: Attempt[DrawingClaim], easel: Easel) -> Line | Failure:
    claim, place, lease = attempt.claim, attempt.place, attempt.lease
    staging.make_room(place.cache, limit=place.settings.worker_cache_bytes)

    def staged(source: Source | None) -> str | None:
        if source is None:
            return None
        return str(
            staging.stage(
                source, store=place.store, cache=place.cache, go_on=lambda: lease.order is Order.go_on
            )
        )

    request: Line = {
        "id": f"{claim.drawing_id}-{claim.fence}",
        "base": staged(claim.base),
        "weights": staged(claim.weights),
        "prompt": claim.prompt,
        "negative_prompt": claim.negative_prompt,
        "seeds": list(claim.seeds),
        "width": claim.width,
        "height": claim.height,
        "steps": claim.steps,
        "guidance_scale": claim.guidance_scale,
        "out": str(attempt.scratch / "out"),
    }
    failed: Failure | None = None
    for _ in range(TRIES):
        try:
            answer = easel.draw(request, seconds=place.settings.drawing_timeout_seconds, lease=lease)
        except TimeoutError:
            return Failure("timeout", f"not drawn within {place.settings.drawing_timeout_seconds:g} seconds")
        except Died as end:
            failed = failure(end.ending)
            if lease.order is not Order.go_on or failed.reason == "out_of_memory":
                return failed
            continue
        if "error" in answer:
            return Failure(str(answer.get("reason") or "internal"), without_secrets(str(answer["error"])))
        return answer
    assert failed is not None
    return failed
