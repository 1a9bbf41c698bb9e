"""Whatever befalls workers that train together: no seat is held for ever, no unit by two gangs."""

import os
import shutil
import tempfile
import zlib
from pathlib import Path

from hypothesis import HealthCheck, Phase, note
from hypothesis import settings as chosen
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from sqlalchemy import func, select

from core.db import Database, transaction
from core.errors import StaleFence
from core.models import GangSeat, Job, Reason, SeatState, Unit, UnitState
from core.runs import claims, reaping, seats, units
from core.runs.claims import Claim
from core.runs.gangs import Unmet
from core.runs.seats import HELD, Seat
from core.settings import Settings
from tests.core.runs.gangs import (
    PATIENCE,
    begin,
    fault,
    finish_the_rest,
    gather,
    lead,
    sit,
    the_unit,
    trainings,
)
from tests.core.runs.making import FILES, LEASE, after, ready_dataset

STEPS = int(os.environ.get("MODEL_STEPS", "150"))
AT_ONCE = 50
ACTIONS = (
    ["look"] * 8 + ["ready", "gather"] * 6 + ["renew", "succeed"] * 3 + ["time"] * 2 + ["renew late"] * 2
) + ["lead", "restart", "vanish", "stop", "fail", "reap", "sweep"]
SECONDS = (0.5, 5.0, LEASE - 1, LEASE + 1, PATIENCE + 1)
CREW = 4
SIZE = 3


class Machine(RuleBasedStateMachine):
    """Workers that train in threes, each of which may die, stop, fail or be late at any point."""

    template: Path

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="spindle-gangs-"))
        shutil.copy(self.template, self.folder / "spindle.db")
        self.database = Database(Settings(state=self.folder, max_attempts=100, retry_seconds=1))
        trainings(self.database, ready_dataset(self.database), 3)
        self.now = 0.0
        self.held: dict[str, Claim | Seat] = {}
        self.former: list[Claim | Seat] = []
        self.begun: set[tuple[str, int]] = set()
        self.dead: set[str] = set()  # until one of their names starts

    @rule(number=st.integers(0, 2**24))
    def step(self, number: int) -> None:
        """Something happens to a worker; all of it follows from the number."""
        mixed = zlib.crc32(number.to_bytes(4, "big"))
        action, number = ACTIONS[mixed % len(ACTIONS)], mixed // len(ACTIONS)
        note(f"# {action} {number}")
        worker = f"w{number % CREW}"
        match action:
            case "time":
                self.now += SECONDS[number % len(SECONDS)]
            case "reap":
                with transaction(self.database) as session:
                    reaping.reap(session, now=after(self.now))
            case "sweep":
                with transaction(self.database) as session:
                    seats.sweep(session)
            case "restart":
                self._restart(worker)
            case "renew late":
                self._late(number)
            case _:
                self._act(action, worker)

    def _act(self, action: str, worker: str) -> None:
        mine = self.held.get(worker)
        if worker in self.dead:
            return
        if action == "vanish":
            self.dead.add(worker)
            if mine is not None:
                self._drop(worker)
        elif action in ("look", "lead"):
            if mine is None:
                self._look(worker, seat_first=action == "look")
        elif isinstance(mine, Seat):
            self._member(action, mine)
        elif isinstance(mine, Claim):
            self._leader(action, mine)

    def _look(self, worker: str, *, seat_first: bool) -> None:
        """Find work as an idle worker does; one that leads at once is one of two who looked at a time."""
        found: Claim | Seat | None = None
        if seat_first:
            found = sit(self.database, worker, nodes=SIZE, now=self.now)
        if found is None:
            found = lead(self.database, worker, nodes=SIZE, now=self.now)
        if found is not None:
            self.held[worker] = found

    def _drop(self, worker: str) -> None:
        self.former.append(self.held.pop(worker))

    def _restart(self, worker: str) -> None:
        """A worker dies, and one of its name starts."""
        self.dead.discard(worker)
        if worker in self.held:
            self._drop(worker)
        with transaction(self.database) as session:
            reaping.give_back(session, worker=worker, now=after(self.now))

    def _late(self, number: int) -> None:
        """Whoever held something once comes back to life and writes; it must be refused, or still its own."""
        if not self.former:
            return
        late = self.former[number % len(self.former)]
        newer = [each for each in (*self.held.values(), *self.former) if each != late and _rivals(each, late)]
        with transaction(self.database) as session:
            if isinstance(late, Claim):
                kept = claims.renew(session, late, lease_seconds=LEASE, now=after(self.now))
            else:
                kept = seats.renew(session, late, lease_seconds=LEASE, now=after(self.now))
                assert kept == seats.holds(session, late)
        assert not (kept and newer)

    def _member(self, action: str, seat: Seat) -> None:
        with transaction(self.database) as session:
            stands = seats.holds(session, seat)
            match action:
                case "ready":
                    assert seats.ready(session, seat, processes=2, gpus=1) == stands
                case "renew":
                    assert seats.renew(session, seat, lease_seconds=LEASE, now=after(self.now)) == stands
                case "stop":
                    assert seats.leave(session, seat, now=after(self.now)) == stands
                case "succeed":
                    if seats.start_of(session, seat) is None:
                        return
                    assert seats.leave(session, seat, done=True) == stands
                case "fail":
                    assert seats.fail(session, seat, reason="internal", message="broke") == stands
        if action in ("stop", "succeed", "fail") or not stands:
            self._drop(seat.worker)

    def _leader(self, action: str, claim: Claim) -> None:
        try:
            if self._led(action, claim):
                self._drop(claim.worker)
        except StaleFence:
            assert not self._stands(claim)
            self._drop(claim.worker)

    def _led(self, action: str, claim: Claim) -> bool:
        """Do what a leader does; return whether it is done with the unit."""
        if action == "renew":
            with transaction(self.database) as session:
                return not claims.renew(session, claim, lease_seconds=LEASE, now=after(self.now))
        if action in ("stop", "fail"):
            with transaction(self.database) as session:
                if action == "stop":
                    units.release_unit(session, claim, now=after(self.now))
                else:
                    units.fail_unit(session, claim, reason="internal", message="broke", now=after(self.now))
            return True
        found = fault(self.database, claim, now=self.now)
        begun = (claim.unit_id, claim.fence) in self.begun
        if found is not None:
            with transaction(self.database) as session:
                if found.reason is Reason.preempted:
                    units.release_unit(session, claim)
                else:
                    units.fail_unit(session, claim, reason=found.reason, message="", now=after(self.now))
            return True
        if begun and action == "succeed":
            with transaction(self.database) as session:
                units.succeed_unit(session, claim, output={"files": FILES})
            return True
        return False if begun else self._gathered(claim)

    def _gathered(self, claim: Claim) -> bool:
        found = gather(self.database, claim, now=self.now)
        if isinstance(found, Unmet):
            with transaction(self.database) as session:
                units.release_unit(session, claim, why=found.why, wait=found.wait, now=after(self.now))
            return True
        if found and begin(self.database, claim, processes=1, now=self.now) is not None:
            self.begun.add((claim.unit_id, claim.fence))
        return False

    def _stands(self, claim: Claim) -> bool:
        unit = the_unit(self.database, claim.unit_id)
        return unit.fence == claim.fence and unit.state is UnitState.running

    @invariant()
    def each_has_one_place(self) -> None:
        """Nobody holds two seats of gangs that stand, and a gang that started has a worker on every seat."""
        with transaction(self.database) as session:
            live = select(GangSeat).join(Unit, seats.counts()).order_by(GangSeat.unit_id, GangSeat.rank)
            rows = list(session.scalars(live))
        held = [row.worker for row in rows if row.state in HELD]
        assert len(held) == len(set(held))
        gangs_there = {(row.unit_id, row.fence) for row in rows}
        assert len({unit_id for unit_id, _ in gangs_there}) == len(gangs_there), "two gangs for one unit"
        for gang in gangs_there:
            members = [row for row in rows if (row.unit_id, row.fence) == gang]
            assert [row.rank for row in members] == list(range(SIZE))
            starts = {row.met_at is not None for row in members}
            assert starts == {gang in self.begun}, "all start, or none"
            if gang in self.begun:
                assert all(row.worker and row.state is not SeatState.open for row in members)

    def teardown(self) -> None:
        """Whatever happened, three honest workers finish all there is, and no seat stays."""
        try:
            for worker in list(self.held):
                self._drop(worker)
            self.now += 10 * PATIENCE
            for _ in range(100):
                self.now += 0.1 if self.held else 1000  # longer than any wait after a failure
                for worker in ("x", "y", "z"):
                    self._honest(worker)
                    self.each_has_one_place()
                finish_the_rest(self.database, after(self.now))
                if self._over():
                    break
            assert self._over(), "something waits for ever"
            with transaction(self.database) as session:
                seats.sweep(session)
                assert session.scalar(select(func.count()).select_from(GangSeat)) == 0
        finally:
            self.database.dispose()
            shutil.rmtree(self.folder)

    def _honest(self, worker: str) -> None:
        for action in ("look", "ready", "gather", "renew", "succeed"):
            self._act(action, worker)

    def _over(self) -> bool:
        with transaction(self.database) as session:
            return session.scalar(select(func.count()).where(Job.finished_at.is_(None))) == 0


def _rivals(one: Claim | Seat, other: Claim | Seat) -> bool:
    """Tell whether the first was given what the other held before."""
    if one.unit_id != other.unit_id:
        return False
    if isinstance(one, Seat) and isinstance(other, Seat):
        return one.fence > other.fence or (one.rank == other.rank and one.turn > other.turn)
    return one.fence > other.fence


def test_whatever_happens_no_seat_is_held_for_ever(sqlite_template: Path) -> None:
    run_state_machine_as_test(
        type("OnThisTemplate", (Machine,), {"template": sqlite_template}),
        settings=chosen(
            max_examples=max(1, STEPS // AT_ONCE),
            stateful_step_count=AT_ONCE,
            deadline=None,
            database=None,
            derandomize=True,
            phases=(Phase.explicit, Phase.generate),
            suppress_health_check=list(HealthCheck),
        ),
    )
