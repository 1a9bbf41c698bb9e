"""Drawing: claims what fits together, lets the warm child draw it, and prepares the next meanwhile.

Three threads share the work. The first claims a batch when the child has nothing to do or is nearly done, so
that as many as possible that wait by then are in it; stages its inputs; and sends it. The second hears the
child. The third renews leases, and tells the child what nobody wants any more. What the child has drawn is
signed, uploaded and written by others (worker.finishing).
"""

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog
from sqlalchemy.exc import SQLAlchemyError

from core import drawing_claims
from core.db import look, transaction
from core.drawing_claims import DrawingClaim
from core.ids import new_id
from core.sources import Source
from core.tracing import request_of
from worker import staging
from worker.child import Child, Ending, Line
from worker.easel import Easel
from worker.finishing import Finishing
from worker.hands import Going, Hands, Held
from worker.lease import Order
from worker.outcome import Failure, end_of, failure, failure_of, without_secrets
from worker.signing import Signing
from worker.staging import Interrupted
from worker.workplace import Workplace

log = structlog.get_logger(__name__)

HEAR_SECONDS = 0.5
KEEP_SECONDS = 0.25
AWAY_SECONDS = 1.0
EX_SOFTWARE = 70
TRIES = 2  # the warm child may have been killed from outside: that is not the picture's fault
LINGER_SECONDS = 10.0  # after the last drawing; from then on a doorbell wakes us
SHORTEST_PAUSE, PAUSE_SHARE = 0.005, 0.01
SHARE_OF_TIMEOUT = 0.25  # that a batch may take
SOURCES_KNOWN = 256


class Studio:
    """A serving worker's threads; ``ring`` tells them that something may be waiting."""

    def __init__(self, place: Workplace, easel: Easel, signing: Signing | None = None) -> None:
        self._place = place
        self._easel = easel
        self._hands = Hands()
        self._finishing = Finishing(place, self._hands, signing)
        self._again: deque[tuple[Held, Path, Path | None]] = deque()
        self._known: set[Source] = set()
        self._rung = True
        self._over = threading.Event()
        self._stuck = False
        self._used = time.monotonic()
        self._seconds_a_picture = 0.0
        place.meters.drawing(held=lambda: len(self._hands.held), process=lambda: easel.child is not None)
        threads = (("claiming", self._claim_and_send), ("hearing", self._hear), ("keeping", self._keep))
        self._threads = [
            threading.Thread(target=_or_die, args=(work,), name=name, daemon=True) for name, work in threads
        ]

    def start(self) -> None:
        """Begin to work."""
        for thread in self._threads:
            thread.start()

    def ring(self) -> None:
        """Look whether something waits."""
        with self._hands.changed:
            self._rung = True
            self._hands.changed.notify_all()

    def rest(self) -> None:
        """End the child if nobody has drawn for long."""
        with self._hands.changed:
            if (
                time.monotonic() - self._used > self._place.settings.serve_idle_seconds
                and not self._hands.held
            ):
                self._easel.kill()

    def finish(self) -> None:
        """Finish what was claimed, claim no more, and end the child; the place must be draining."""
        assert self._place.draining.is_set(), "it would claim for ever"
        self.ring()
        self._threads[0].join()
        self._finishing.close()
        self._over.set()
        self._easel.kill()
        for thread in self._threads[1:]:
            thread.join()

    def _claim_and_send(self) -> None:
        changed = self._hands.changed
        while True:
            with changed:
                changed.wait_for(lambda: self._hands.is_free, timeout=HEAR_SECONDS)
                if not self._hands.is_free:
                    continue
            if self._again:
                held, base, weights = self._again.popleft()
                self._send([held], base, weights)
            elif self._place.draining.is_set():
                if not self._hands.held:
                    return
                time.sleep(SHORTEST_PAUSE)
            elif claims := self._claim():
                self._begin(claims)
            else:
                self._wait()

    def _claim(self) -> list[DrawingClaim]:
        settings = self._place.settings
        most = settings.serve_batch_pictures
        if self._seconds_a_picture > 0:
            seconds = SHARE_OF_TIMEOUT * settings.drawing_timeout_seconds
            most = max(1, min(most, int(seconds / self._seconds_a_picture)))
        self._rung = False
        try:
            with look(self._place.database) as session:
                if not drawing_claims.anything_pending(session):
                    return []
            with transaction(self._place.database) as session:
                return drawing_claims.claim_drawings(
                    session,
                    worker=self._place.name,
                    lease_seconds=settings.lease_seconds,
                    pictures=most,
                )
        except SQLAlchemyError as error:
            log.warning("drawings_not_claimed", error=type(error).__name__)
            time.sleep(AWAY_SECONDS)
            return []

    def _wait(self) -> None:
        """Pause: a moment while drawings keep coming, and then until the bell rings."""
        idle = time.monotonic() - self._used
        pause = max(SHORTEST_PAUSE, PAUSE_SHARE * idle)
        changed = self._hands.changed
        with changed:
            changed.wait_for(self._is_woken, timeout=pause if idle < LINGER_SECONDS else None)

    def _is_woken(self) -> bool:
        return self._rung or bool(self._again) or self._place.draining.is_set()

    def _begin(self, claims: Sequence[DrawingClaim]) -> None:
        self._used = time.monotonic()
        held = []
        for claim in claims:
            scratch = self._place.scratch(f"{claim.drawing_id}-{claim.fence}")
            held.append(Held(claim, scratch))
            log.info(
                "drawing_claimed",
                drawing=claim.drawing_id,
                fence=claim.fence,
                together=len(claims),
                **request_of(claim.origin),
            )
        self._hands.take(held)
        try:
            base, weights = self._staged(claims[0].base, held), None
            if claims[0].weights is not None:
                weights = self._staged(claims[0].weights, held)
        except Interrupted:
            for each in held:
                self._finishing.drop(each)
        except (OSError, ValueError) as error:
            log.exception("drawings_not_staged")
            for each in held:
                self._finishing.fail(each, failure_of(error))
        else:
            self._send(held, base, weights)

    def _staged(self, source: Source, held: Sequence[Held]) -> Path:
        place = self._place
        if source.folder is None and source not in self._known:
            staging.make_room(place.cache, limit=place.settings.worker_cache_bytes)
            if len(self._known) >= SOURCES_KNOWN:
                self._known.clear()
            self._known.add(source)
        wanted = Order.go_on
        return staging.stage(
            source,
            store=place.store,
            cache=place.cache,
            go_on=lambda: any(each.order is wanted for each in held),
        )

    def _send(self, held: Sequence[Held], base: Path, weights: Path | None) -> None:
        with self._hands.changed:
            wanted = [each for each in held if each.order is Order.go_on]
            if wanted:
                going = Going(new_id("batch-"), base, weights, list(wanted))
                request = going.request(pictures=self._place.settings.serve_batch_pictures)
                for each in wanted:
                    each.sent_ns = time.time_ns()
                self._hands.begin(going)
                self._easel.say(request)
        for each in held:
            if each not in wanted:
                self._finishing.drop(each)

    def _hear(self) -> None:
        while not self._over.is_set():
            child = self._easel.child
            if child is None:
                with self._hands.changed:
                    self._hands.changed.wait(HEAR_SECONDS / 10)
                continue
            self._hear_of(child)
        if self._easel.child is not None:
            self._easel.bury(self._easel.child)

    def _hear_of(self, child: Child) -> None:
        lines, more = child.hear(HEAR_SECONDS)
        for line in lines:
            self._take(line)
        if not more:
            with self._hands.changed:  # what is asked for from here on is asked of the next child
                self._easel.forget(child)
                lost, stuck = self._hands.died(), self._stuck
                self._stuck = False
            self._died(self._easel.bury(child), lost, stuck=stuck)

    def _take(self, line: Line) -> None:
        if line["type"] == "nearly":
            self._hands.nearly(str(line["id"]))
            return
        held = self._hands.find(str(line.get("id")))
        if held is None:
            return
        if line["type"] == "partial":
            self._finishing.show(held, line)
            return
        self._hands.answered(held)
        self._used = time.monotonic()
        if "files" in line:
            self._seconds_a_picture = line["seconds"] / line["together"]
            self._finishing.finish(held, line, heard=time.time_ns())
        elif "error" in line:
            reason = str(line.get("reason") or "internal")
            self._finishing.fail(held, Failure(reason, without_secrets(str(line["error"]))))
        else:
            self._finishing.drop(held)

    def _died(self, ending: Ending, lost: Sequence[Going], *, stuck: bool) -> None:
        """Try each drawing again that was asked for, by itself; which was tried so often is at fault."""
        self._place.meters.ended(end_of(ending))
        seconds = self._place.settings.drawing_timeout_seconds
        failed = Failure("timeout", f"not drawn within {seconds:g} seconds") if stuck else failure(ending)
        for number, going in enumerate(lost):
            alone = len(going.held) == 1
            final = alone and (stuck or failed.reason == "out_of_memory")
            for held in going.held:
                held.tries += number == 0  # the next batch had not begun
                if held.order is not Order.go_on:
                    self._finishing.drop(held)
                elif number == 0 and (final or held.tries >= TRIES):
                    self._finishing.fail(held, failed)
                else:
                    self._again.append((held, going.base, going.weights))
        self.ring()

    def _keep(self) -> None:
        renewed = time.monotonic()
        while not self._over.wait(KEEP_SECONDS):
            held = [each for each in self._hands.held if each.order is Order.go_on]
            due = time.monotonic() - renewed > self._place.settings.lease_seconds / 3
            if not held:
                renewed = time.monotonic()
                continue
            claims = [each.claim for each in held]
            try:
                if due:
                    with transaction(self._place.database) as session:
                        ours = drawing_claims.renew_drawings(session, claims)
                    renewed = time.monotonic()
                    self._place.meters.renewed("renewed", len(ours))
                    self._place.meters.renewed("lost", len(claims) - len(ours))
                else:
                    with look(self._place.database) as session:
                        ours = drawing_claims.still_held(session, claims)
            except SQLAlchemyError as error:  # a claim that cannot be proven ends by itself
                log.warning("lease_not_renewed", error=type(error).__name__)
                self._place.meters.renewed("failed")
                if time.monotonic() - renewed <= self._place.settings.lease_seconds:
                    continue
                ours = set()
            self._leave([each for each in held if each.claim.drawing_id not in ours])
            self._end_what_is_stuck()

    def _leave(self, lost: Sequence[Held]) -> None:
        if lost:
            with self._hands.changed:  # what is just being asked for must not be cancelled before that
                for held in lost:
                    held.order = Order.lost
                self._easel.whisper({"cancel": [held.id for held in lost]})

    def _end_what_is_stuck(self) -> None:
        with self._hands.changed:  # or a child that is heard of meanwhile is taken for the next one
            began = self._hands.began
            if began is not None and time.monotonic() - began > self._place.settings.drawing_timeout_seconds:
                log.warning("drawing_process_stuck")
                self._stuck = True
                self._easel.kill()


def _or_die(work: Callable[[], None]) -> None:
    """Run a thread without which the worker is of no use: its supervisor starts another one."""
    try:
        work()
    except BaseException:
        log.critical("serving_broke", exc_info=True)
        os._exit(EX_SOFTWARE)
