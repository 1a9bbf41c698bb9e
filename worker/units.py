"""A unit from claim to finish: claim, stage, supervise, record, upload, and tell how it went."""

import shutil
import signal
import time
from collections.abc import Mapping
from typing import Any, Final

import structlog
from opentelemetry.trace import SpanKind

from core.db import transaction
from core.errors import StaleFence
from core.models import Reason, UnitKind
from core.runs import claims, units
from core.runs.claims import Claim, Wish
from core.runs.origin import origin_of
from core.tracing import REQUEST_ID, mark_failed, note_span, span
from worker import engine, intake, records
from worker.attempt import Attempt
from worker.child import Child, Ending
from worker.lease import Lease, Order
from worker.outcome import STOPPED, Failure, failure, without_secrets
from worker.staging import Interrupted
from worker.workplace import Workplace

log = structlog.get_logger(__name__)

BATCH_SECONDS = 0.5
ORDERS: Final = {
    Wish.go_on: Order.go_on,
    Wish.pause: Order.stop,
    Wish.make_way: Order.stop,
    Wish.cancel: Order.cancel,
    Wish.lost: Order.lost,
}


def run_units(place: Workplace) -> int:
    """Run units until none is left to claim or the worker has to stop; return how many were run."""
    done = 0
    while not place.draining.is_set():
        began = time.time_ns()
        with transaction(place.database) as session:
            claim = claims.claim_unit(
                session,
                worker=place.name,
                kinds=place.kinds,
                has=place.has,
                lease_seconds=place.settings.lease_seconds,
            )
            origin = None if claim is None else origin_of(session, claim)
        if claim is None:
            break
        run_unit(place, claim, origin=origin, began=began)
        done += 1
    return done


def run_unit(
    place: Workplace, claim: Claim, *, origin: Mapping[str, str] | None = None, began: int | None = None
) -> None:
    """Run one claimed unit and write how it ended; a claim that was lost writes nothing more.

    Args:
        place: this worker.
        claim: the unit, taken.
        origin: the request that caused it, whose id every log line carries and whose trace goes on here.
        began: when the claim began, in nanoseconds since 1970.
    """
    told: dict[str, Any] = {
        "unit": claim.unit_id,
        "kind": claim.kind.value,
        "attempt": claim.attempt,
        "fence": claim.fence,
    }
    told |= {"job": claim.job_id} if claim.job_id is not None else {"dataset": claim.dataset_id}
    began = began or time.time_ns()
    with (
        structlog.contextvars.bound_contextvars(**told, **_request_of(origin)),
        span(f"unit {claim.kind.value}", origin=origin, role=SpanKind.CONSUMER, began=began, **told),
    ):
        note_span("claim", began=began)
        log.info("unit_claimed")
        scratch = place.scratch(f"{claim.unit_id}-{claim.fence}")
        try:
            with _lease(place, claim) as lease:
                _run(Attempt(place, claim, lease, scratch))
        except StaleFence:
            log.warning("unit_lost")
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _request_of(origin: Mapping[str, str] | None) -> dict[str, str]:
    return {} if not origin or REQUEST_ID not in origin else {REQUEST_ID: origin[REQUEST_ID]}


def _lease(place: Workplace, claim: Claim) -> Lease:
    seconds = place.settings.lease_seconds

    def renew() -> bool:
        with transaction(place.database) as session:
            return claims.renew(session, claim, lease_seconds=seconds)

    def wish() -> Order:
        with transaction(place.database) as session:
            return ORDERS[claims.wish(session, claim)]

    return Lease(
        renew=renew,
        wish=wish,
        seconds=seconds,
        draining=place.draining,
        grace=place.settings.shutdown_grace_seconds,
    )


def _run(attempt: Attempt[Claim]) -> None:
    is_ingest = attempt.claim.kind is UnitKind.ingest
    ending, failed = None, None
    try:
        child = intake.start(attempt) if is_ingest else engine.start(attempt)
        attempt.lease.guard(child)
        with span("run"):
            ending = _supervise(attempt, child)
        if ending.code == 0 and ending.signal is None:
            with span("finish"):
                (intake.finish if is_ingest else engine.finish)(attempt, ending)
            log.info("unit_succeeded")
            return
        failed = failure(ending)
    except Interrupted:
        log.info("unit_staging_interrupted")
    except StaleFence:
        raise
    except Exception as error:  # a unit must end with a reason, whatever goes wrong around it
        log.exception("unit_broke")
        failed = Failure(Reason.internal, without_secrets(f"{type(error).__name__}: {error}"))
    _end(attempt, ending, failed)


def _supervise(attempt: Attempt[Claim], child: Child) -> Ending:
    more = True
    # The engine tells its progress; an ingest does not, but has its limit of processor time.
    tells = attempt.claim.kind is not UnitKind.ingest
    stall = attempt.place.settings.unit_stall_seconds
    try:
        while more:
            lines, more = child.hear(BATCH_SECONDS)
            records.record(attempt, lines)
            if tells and time.monotonic() - child.heard > stall:
                attempt.lease.give(Order.timeout)
    except BaseException:
        child.kill()
        child.wait()
        raise
    return child.wait()


def _end(attempt: Attempt[Claim], ending: Ending | None, failed: Failure | None) -> None:
    """Write how a unit ended that did not succeed. What was ordered counts before what the child said."""
    order = attempt.lease.order
    preempted = ending is not None and (ending.code == STOPPED or ending.signal == signal.SIGTERM)
    stopped = failed is None or preempted
    log.info("unit_ended", order=order.name, reason=None if failed is None else failed.reason)
    if order is Order.lost:
        return
    if order is Order.timeout:
        stall = attempt.place.settings.unit_stall_seconds
        failed = Failure(Reason.timeout, f"nothing was heard of the process for {stall:g} seconds")
    elif order is Order.cancel or order is Order.stop or stopped:
        cancelled = order is Order.cancel
        attempt.write(lambda session, claim: units.release_unit(session, claim, cancelled=cancelled))
        return
    assert failed is not None
    mark_failed(failed.reason, failed.message)
    rejected = ending.error.get("rejected") if ending is not None and ending.error is not None else None
    if rejected is not None:
        intake.refuse(attempt, message=failed.message, rejected=rejected)
        return
    reason, message = failed.reason, failed.message
    attempt.write(lambda session, claim: units.fail_unit(session, claim, reason=reason, message=message))
