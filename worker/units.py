"""A unit from claim to finish: claim, stage, supervise, record, upload, and tell how it went."""

import shutil
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import structlog
from opentelemetry.trace import SpanKind

from core.db import transaction
from core.errors import StaleFence
from core.models import Reason, UnitKind
from core.runs import claims, units
from core.runs.claims import Claim, Wish
from core.runs.gangs import Fault, Unmet
from core.runs.origin import origin_of
from core.tracing import mark_failed, note_span, request_of, span
from worker import engine, gang, intake, records, transfers
from worker.attempt import Attempt
from worker.child import Child, Ending
from worker.lease import Lease, Order
from worker.outcome import STOPPED, Failure, end_of, failure, failure_of
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


def run_units(place: Workplace, *, most: int | None = None) -> int:
    """Run units until none is left to claim or the worker has to stop; return how many were run.

    Args:
        place: this worker.
        most: how many to run at most.
    """
    done = 0
    while done != most and not place.draining.is_set():
        seat = gang.take_seat(place)
        if seat is not None:
            gang.hold_seat(place, seat)
            done += 1
            continue
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
    told: dict[str, Any] = {"unit": claim.unit_id, "fence": claim.fence}
    told |= {"kind": claim.kind.value, "attempt": claim.attempt}
    owners = {"job": claim.job_id, "dataset": claim.dataset_id, "transfer": claim.transfer_id}
    told |= {name: owner for name, owner in owners.items() if owner is not None}
    began = began or time.time_ns()
    with (
        structlog.contextvars.bound_contextvars(**told, **request_of(origin)),
        span(f"unit {claim.kind.value}", origin=origin, role=SpanKind.CONSUMER, began=began, **told),
        place.meters.running(claim.kind),
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


def _lease(place: Workplace, claim: Claim) -> Lease:
    seconds = place.settings.lease_seconds

    def renew() -> bool:
        with transaction(place.database) as session:
            return claims.renew(session, claim, lease_seconds=seconds)

    def wish() -> Order:
        with transaction(place.database) as session:
            wished = ORDERS[claims.wish(session, claim)]
        return wished if claim.nodes == 1 else max(wished, gang.wish_of(place, claim))

    return Lease(
        renew=place.meters.counting(renew),
        wish=wish,
        seconds=seconds,
        draining=place.draining,
        grace=place.settings.shutdown_grace_seconds,
    )


@dataclass(frozen=True)
class Way:
    """How a unit of a kind is run: one process after the other, then what becomes of it.

    ``quiet``: a process may tell nothing for long; it has its limit of processor time instead.
    """

    starts: tuple[Callable[[Attempt[Claim]], Child], ...]
    finish: Callable[[Attempt[Claim], Ending], None]
    quiet: bool = False


def _way(kind: UnitKind) -> Way:
    """Return how a kind of unit is run."""
    match kind:
        case UnitKind.ingest:
            return Way((intake.start,), intake.finish, quiet=True)
        case UnitKind.export:
            return Way((transfers.start_export,), transfers.finish_export)
        case UnitKind.import_:
            starts = (transfers.start_unpacking, transfers.start_loading)
            return Way(starts, transfers.finish_import, quiet=True)
    return Way((engine.start,), engine.finish)


def _run(attempt: Attempt[Claim]) -> None:
    way = _way(attempt.claim.kind)
    ending, failed = None, None
    try:
        for start in way.starts:
            child = start(attempt)
            attempt.place.meters.started("warm" if child.is_forked else "fresh")
            attempt.lease.guard(child)
            with span("run", began=child.began_ns):
                ending = _supervise(attempt, child, quiet=way.quiet)
            if ending.code != 0 or ending.signal is not None:
                failed = failure(ending)
                break
        else:
            assert ending is not None, "a way has a process"
            with span("finish"):
                way.finish(attempt, ending)
            log.info("unit_succeeded")
            return
    except Interrupted:
        log.info("unit_staging_interrupted")
    except gang.Apart as apart:
        _part(attempt, apart.unmet)
        return
    except StaleFence:
        raise
    except Exception as error:  # a unit must end with a reason, whatever goes wrong around it
        log.exception("unit_broke")
        failed = failure_of(error)
    _end(attempt, ending, failed)


def _supervise(attempt: Attempt[Claim], child: Child, *, quiet: bool) -> Ending:
    more = True
    stall = attempt.place.settings.unit_stall_seconds
    try:
        while more:
            lines, more = child.hear(BATCH_SECONDS)
            records.record(attempt, lines)
            if not quiet and time.monotonic() - child.heard > stall:
                attempt.lease.give(Order.timeout)
    except BaseException:
        child.kill()
        child.wait()
        raise
    ending = child.wait()
    attempt.place.meters.ended(end_of(ending))
    return ending


def _part(attempt: Attempt[Claim], unmet: Unmet) -> None:
    """Give back a unit for which not all workers came."""
    log.info("gang_unmet", why=unmet.why)
    attempt.write(lambda session, claim: units.release_unit(session, claim, why=unmet.why, wait=unmet.wait))


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
    elif order is Order.broken or (attempt.claim.nodes > 1 and order is Order.go_on and not stopped):
        fault = gang.cause(attempt, None if order is Order.broken else failed)
        if fault is not None:
            _end_with(attempt, fault)
            return
        failed = failed or Failure(Reason.worker_lost, "another worker of the gang was lost")
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


def _end_with(attempt: Attempt[Claim], fault: Fault) -> None:
    """Write how a unit ended that several workers did, for what befell one of the others."""
    if fault.reason is Reason.preempted:
        attempt.write(lambda session, claim: units.release_unit(session, claim, why=fault.message))
        return
    mark_failed(fault.reason, fault.message)
    attempt.write(
        lambda session, claim: units.fail_unit(
            session, claim, reason=fault.reason, message=fault.message, culprit=fault.worker
        )
    )
