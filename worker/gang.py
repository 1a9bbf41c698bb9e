"""A training unit that several workers do together: its leader gathers them, a member holds a seat.

Both stage the same inputs, wait until all are ready, and start their processes, which meet at the leader's
address. From then on each watches: a member its seat, the leader all of them. Whatever ends one ends all.
"""

import shutil
import signal
import time
from pathlib import Path

import structlog

from core.db import transaction
from core.errors import StaleFence
from core.models import Reason, UnitKind
from core.runs import gangs, seats
from core.runs.claims import Claim
from core.runs.gangs import Fault, Unmet
from core.runs.seats import Seat, Start
from core.sources import Work
from worker.attempt import Attempt
from worker.child import Child, Ending
from worker.launching import launched
from worker.lease import Lease, Order
from worker.outcome import STOPPED, Failure, end_of, failure, failure_of
from worker.prepare import prepare
from worker.staging import Interrupted
from worker.workplace import Workplace

log = structlog.get_logger(__name__)

LOOK_SECONDS = 0.5
SOON_SECONDS = 5.0
BESIDE = (Reason.worker_lost, Reason.internal, Reason.device_lost)
"""What one worker says when another has failed: then that one's reason is the gang's."""
ORDERS = {Reason.preempted: Order.stop}


class Apart(Exception):  # noqa: N818  says what became of the gang
    """The gang did not come together."""

    def __init__(self, unmet: Unmet) -> None:
        """Keep why, and for how long the unit should wait."""
        super().__init__(unmet.why)
        self.unmet = unmet


def lead(attempt: Attempt[Claim], path: Path) -> Child:
    """Wait for the others, and start the leader's processes.

    Raises:
        Apart: they did not come.
        Interrupted: an order came meanwhile.
    """
    place, processes = attempt.place, attempt.place.team.processes
    began = time.monotonic()
    while True:
        found = attempt.write(
            lambda session, claim: gangs.gather(
                session, claim, has=place.has, seconds=place.settings.gang_seconds
            )
        )
        if isinstance(found, Unmet):
            raise Apart(found)
        if found:
            start = _begin(attempt)
            if start is not None:
                log.info("gang_met", workers=attempt.claim.nodes, seconds=time.monotonic() - began)
                return launched(attempt, path, start, processes=processes)
        _pause(attempt)


def _begin(attempt: Attempt[Claim]) -> Start | None:
    """Let all nodes start; None when one is there no more."""
    team = attempt.place.team
    port = team.free_port()
    return attempt.write(
        lambda session, claim: gangs.start(
            session, claim, address=team.address, port=port, processes=team.processes
        )
    )


def wish_of(place: Workplace, claim: Claim) -> Order:
    """Return what the state of a leader's gang asks of it."""
    with transaction(place.database) as session:
        found = gangs.fault(session, claim)
    return Order.go_on if found is None else ORDERS.get(found.reason, Order.broken)


def cause(attempt: Attempt[Claim], failed: Failure | None) -> Fault | None:
    """Return the fault of another worker that made a leader's processes fail; None: it is their own.

    Of another host nothing is heard until its lease is over, and what a member says takes a moment.
    """
    if failed is not None and failed.reason not in BESIDE:
        return None
    lost = failed is None or failed.reason == Reason.worker_lost
    patience = attempt.place.settings.lease_seconds + LOOK_SECONDS if lost else SOON_SECONDS
    deadline = time.monotonic() + patience
    while True:
        found = attempt.write(gangs.fault)
        if found is not None or time.monotonic() > deadline or attempt.lease.order is Order.lost:
            return found
        time.sleep(LOOK_SECONDS)


def take_seat(place: Workplace) -> Seat | None:
    """Take a seat of a gang that lacks workers, if this worker trains with others."""
    if place.has.nodes == 1 or UnitKind.train not in place.kinds:
        return None
    with transaction(place.database) as session:
        return seats.take(
            session, worker=place.name, has=place.has, lease_seconds=place.settings.lease_seconds
        )


def hold_seat(place: Workplace, seat: Seat) -> None:
    """Do a member's part in a gang, and tell its leader how it went; for a gang that is over, nothing."""
    told = {"unit": seat.unit_id, "fence": seat.fence, "seat": seat.rank, "job": seat.job_id}
    with structlog.contextvars.bound_contextvars(**told):
        log.info("seat_taken")
        scratch = place.scratch(f"{seat.unit_id}-{seat.fence}-{seat.rank}")
        try:
            with place.meters.running(UnitKind.train), _lease(place, seat) as lease:
                _take_part(Attempt(place, seat, lease, scratch))
        except StaleFence:
            log.info("seat_lost")
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _lease(place: Workplace, seat: Seat) -> Lease:
    seconds = place.settings.lease_seconds

    def renew() -> bool:
        with transaction(place.database) as session:
            return seats.renew(session, seat, lease_seconds=seconds)

    def wish() -> Order:
        with transaction(place.database) as session:
            return Order.go_on if seats.holds(session, seat) else Order.lost

    return Lease(
        renew=place.meters.counting(renew),
        wish=wish,
        seconds=seconds,
        draining=place.draining,
        grace=place.settings.shutdown_grace_seconds,
    )


def _take_part(attempt: Attempt[Seat]) -> None:
    ending, failed = None, None
    try:
        child = _start(attempt)
        attempt.place.meters.started("warm" if child.is_forked else "fresh")
        attempt.lease.guard(child)
        ending = _supervise(child)
        attempt.place.meters.ended(end_of(ending))
        if ending.code != 0 or ending.signal is not None:
            failed = failure(ending)
    except Interrupted:
        log.info("unit_staging_interrupted")
    except StaleFence:
        raise
    except Exception as error:  # the leader must hear of it, whatever went wrong
        log.exception("seat_broke")
        failed = failure_of(error)
    _tell(attempt, ending, failed)


def _start(attempt: Attempt[Seat]) -> Child:
    attempt.place.warm.begin()  # it imports while inputs are fetched
    work: Work = attempt.write(seats.work_of)
    seat, place = attempt.claim, attempt.place
    _, path = prepare(attempt, work, kind=UnitKind.train, iteration=seat.iteration)
    processes = place.team.processes
    mine = attempt.write(
        lambda session, seat: seats.ready(session, seat, processes=processes, gpus=place.has.gpus)
    )
    if not mine:
        raise StaleFence(f"{seat.unit_id}: seat {seat.rank} was given to another")
    log.info("seat_ready")
    while True:
        start: Start | None = attempt.write(seats.start_of)
        if start is not None:
            return launched(attempt, path, start, processes=processes)
        _pause(attempt)


def _pause(attempt: Attempt[Claim] | Attempt[Seat]) -> None:
    if attempt.lease.order is not Order.go_on:
        raise Interrupted
    time.sleep(LOOK_SECONDS)


def _supervise(child: Child) -> Ending:
    """Wait for a member's processes: they tell nothing, and whether they hang the leader's tell."""
    more = True
    try:
        while more:
            _, more = child.hear(LOOK_SECONDS)
    except BaseException:
        child.kill()
        child.wait()
        raise
    return child.wait()


def _tell(attempt: Attempt[Seat], ending: Ending | None, failed: Failure | None) -> None:
    order = attempt.lease.order
    stopped = ending is not None and (ending.code == STOPPED or ending.signal == signal.SIGTERM)
    log.info("seat_ended", order=order.name, reason=None if failed is None else failed.reason)
    if order is Order.lost:
        return
    if failed is None or stopped or order is Order.stop:
        done = failed is None and ending is not None
        attempt.write(lambda session, seat: seats.leave(session, seat, done=done))
        return
    attempt.write(
        lambda session, seat: seats.fail(session, seat, reason=failed.reason, message=failed.message)
    )
