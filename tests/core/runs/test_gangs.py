"""Gangs in SQL alone: who takes which seat, who gives way, and what a loss does."""

import pytest

from core import workers
from core.db import Database, transaction
from core.errors import StaleFence
from core.models import Attempt, Reason, UnitState
from core.runs import claims, control, gangs, lineup, preemption, reaping, seats, units
from core.runs.capabilities import Capabilities, Node, waits_for
from core.runs.claims import Wish
from core.runs.elsewhere import need_of
from core.runs.gangs import Unmet
from core.runs.seats import Start
from tests.core.runs.gangs import (
    PATIENCE,
    TRAIN,
    be_ready,
    begin,
    fault,
    gather,
    lead,
    met,
    sit,
    the_unit,
    trainings,
)
from tests.core.runs.making import LEASE, PROJECT, after, events_of, ready_dataset


def test_workers_that_come_start_together(database: Database) -> None:
    [unit_id] = trainings(database, ready_dataset(database))
    claim = lead(database, "a", nodes=3, gpus=2)
    assert claim is not None
    assert sit(database, "other size", nodes=2) is None
    first, second = sit(database, "b", nodes=3), sit(database, "c", nodes=3)
    assert first is not None
    assert second is not None
    assert sit(database, "d", nodes=3) is None, "all seats are taken"
    assert (first.rank, second.rank, first.unit_id) == (1, 2, unit_id)
    assert be_ready(database, first, processes=4, gpus=4)
    assert gather(database, claim) is False
    assert begin(database, claim) is None, "one is still fetching inputs"
    with transaction(database) as session:
        assert seats.start_of(session, first) is None
    assert be_ready(database, second, processes=1, gpus=1)
    assert gather(database, claim) is True
    assert begin(database, claim, processes=2) == Start("10.0.0.1", 29500, 0, 7)
    with transaction(database) as session:
        assert seats.start_of(session, first) == Start("10.0.0.1", 29500, 2, 7)
        assert seats.start_of(session, second) == Start("10.0.0.1", 29500, 6, 7)
        attempt = session.get_one(Attempt, (unit_id, claim.fence))
        assert attempt.gpus == 7, "the project pays for all of them"
        [at_work] = lineup.at_work(session, project_id=PROJECT)
        assert at_work.gang == ("a", "b", "c")
    told = events_of(database, claim.job_id or "")[-1]
    assert "3 workers train together: a, b, c" in told.message
    assert fault(database, claim) is None


def test_of_two_half_gangs_the_younger_gives_way(database: Database) -> None:
    trainings(database, ready_dataset(database), 2)
    older, younger = lead(database, "a"), lead(database, "b", now=1)
    assert older is not None
    assert younger is not None
    assert gather(database, older, now=2) is False
    found = gather(database, younger, now=2)
    assert isinstance(found, Unmet)
    assert older.unit_id in found.why
    with transaction(database) as session:
        units.release_unit(session, younger, why=found.why, wait=found.wait, now=after(2))
    unit = the_unit(database, younger.unit_id)
    assert (unit.state, unit.attempt, unit.not_before) == (UnitState.pending, 0, None)
    seat = sit(database, "b", now=2)
    assert seat is not None
    assert seat.unit_id == older.unit_id


def test_who_waits_too_long_gives_the_unit_back_unharmed(database: Database) -> None:
    [unit_id] = trainings(database, ready_dataset(database))
    claim = lead(database, "a", nodes=3)
    assert claim is not None
    seat = sit(database, "b", nodes=3)
    assert seat is not None
    now = 0.0
    while now < PATIENCE - LEASE / 2:
        now += LEASE / 2
        assert gather(database, claim, now=now) is False
        with transaction(database) as session:
            assert claims.renew(session, claim, lease_seconds=LEASE, now=after(now))
            assert seats.renew(session, seat, lease_seconds=LEASE, now=after(now))
    found = gather(database, claim, now=PATIENCE)
    assert isinstance(found, Unmet)
    assert "within 60 s only 2 of 3 workers with --nodes 3 came" in found.why
    with transaction(database) as session:
        units.release_unit(session, claim, why=found.why, wait=found.wait, now=after(PATIENCE))
        assert not seats.holds(session, seat), "the member is free in the same moment"
    unit = the_unit(database, unit_id)
    assert (unit.state, unit.attempt, unit.failures) == (UnitState.pending, 0, 0)
    assert lead(database, "c", now=PATIENCE + 1) is None, "others have their turn"
    assert lead(database, "c", now=2 * PATIENCE) is not None
    assert found.why in events_of(database, claim.job_id or "")[-2].message


def test_a_member_that_falls_silent_is_replaced_before_the_start_and_missed_after(database: Database) -> None:
    [unit_id] = trainings(database, ready_dataset(database))
    claim, silent = lead(database, "a"), sit(database, "b")
    assert claim is not None
    assert silent is not None
    with transaction(database) as session:
        assert claims.renew(session, claim, lease_seconds=LEASE, now=after(LEASE + 1))
    assert gather(database, claim, now=LEASE + 1) is False
    with transaction(database) as session:
        assert not seats.renew(session, silent, lease_seconds=LEASE, now=after(LEASE + 1)), "too late"
    assert not be_ready(database, silent)
    seat = sit(database, "c", now=LEASE + 2)
    assert seat is not None
    assert (seat.rank, seat.turn) == (1, silent.turn + 1)
    assert be_ready(database, seat)
    assert begin(database, claim, now=LEASE + 2) is not None
    assert fault(database, claim, now=LEASE + 3) is None
    found = fault(database, claim, now=3 * LEASE)
    assert found is not None
    assert (found.worker, found.reason) == ("c", Reason.worker_lost)
    with transaction(database) as session:
        units.fail_unit(
            session,
            claim,
            reason=found.reason,
            message=found.message,
            culprit=found.worker,
            now=after(3 * LEASE),
        )
        assert not seats.renew(session, seat, lease_seconds=LEASE, now=after(3 * LEASE))
    unit = the_unit(database, unit_id)
    assert (unit.state, unit.failures) == (UnitState.pending, 1)
    assert unit.failure is not None
    assert (unit.failure["reason"], unit.failure["worker"]) == ("worker_lost", "c")


@pytest.mark.parametrize("others", [("a",), ("a", "c")])
def test_a_worker_that_failed_its_gang_is_avoided_if_the_others_are_enough(
    database: Database, others: tuple[str, ...]
) -> None:
    [unit_id] = trainings(database, ready_dataset(database))
    claim, seat = met(database, unit_id)
    with transaction(database) as session:
        for name in (*others, "b"):
            workers.heartbeat(session, name=name, kind="units", kinds=TRAIN, has=Capabilities(nodes=2))
        assert seats.fail(session, seat, reason="device_lost", message="gone")
    found = fault(database, claim)
    assert found is not None
    with transaction(database) as session:
        units.fail_unit(session, claim, reason=found.reason, message="", culprit=found.worker, now=after(1))
    assert lead(database, "a", now=10) is not None
    assert (sit(database, "b", now=10) is None) == ("c" in others)


@pytest.mark.parametrize("how", ["stops", "fails", "dies and comes back", "is done"])
def test_what_a_member_says_at_its_end(database: Database, how: str) -> None:
    [unit_id] = trainings(database, ready_dataset(database))
    claim, seat = met(database, unit_id)
    with transaction(database) as session:
        match how:
            case "stops":
                assert seats.leave(session, seat)
            case "is done":
                assert seats.leave(session, seat, done=True)
            case "fails":
                assert seats.fail(session, seat, reason="out_of_memory", message="no more")
            case _:
                assert reaping.give_back(session, worker="b") == 1
    expected = {
        "stops": Reason.preempted,
        "fails": Reason.out_of_memory,
        "dies and comes back": Reason.worker_lost,
    }
    found = fault(database, claim)
    assert (None if found is None else found.reason) == expected.get(how)
    with transaction(database) as session:
        assert not seats.leave(session, seat), "it has said so"


def test_the_leader_goes_and_its_members_are_free(database: Database) -> None:
    [unit_id] = trainings(database, ready_dataset(database))
    claim, seat = met(database, unit_id)
    with transaction(database) as session:
        assert reaping.give_back(session, worker="a", now=after(1)) == 1
        assert not seats.holds(session, seat)
        assert seats.sweep(session) == 2
    with pytest.raises(StaleFence), transaction(database) as session:
        gangs.start(session, claim, address="x", port=1, processes=1)
    with pytest.raises(StaleFence), transaction(database) as session:
        seats.work_of(session, seat)


def test_a_seat_of_a_job_that_is_to_stop_is_not_taken(database: Database) -> None:
    trainings(database, ready_dataset(database))
    claim = lead(database, "a")
    assert claim is not None
    assert claim.job_id is not None
    with transaction(database) as session:
        control.pause_job(session, project_id=PROJECT, job_id=claim.job_id)
        assert claims.wish(session, claim) is Wish.pause
    assert sit(database, "b") is None


def test_a_gang_makes_way_for_one_of_higher_priority_that_lacks_workers(database: Database) -> None:
    dataset_id = ready_dataset(database)
    [low] = trainings(database, dataset_id)
    has = Capabilities(nodes=2)
    claim, _ = met(database, low)
    [high] = trainings(database, dataset_id, priority=5)
    leader = lead(database, "c")
    assert leader is not None
    assert leader.unit_id == high
    with transaction(database) as session:
        for name in ("a", "b", "c"):
            workers.heartbeat(session, name=name, kind="units", kinds=TRAIN, has=has)
        assert preemption.make_way(session) == 1
        assert claims.wish(session, claim) is Wish.make_way
        units.release_unit(session, claim)
    seat = sit(database, "b")
    assert seat is not None
    assert seat.unit_id == high
    with transaction(database) as session:
        assert preemption.make_way(session) == 0


def test_a_job_tells_how_many_workers_its_gang_lacks(database: Database) -> None:
    [unit_id] = trainings(database, ready_dataset(database))
    need = need_of(the_unit(database, unit_id))
    pair, alone = Capabilities(nodes=2), Capabilities()
    nodes = [Node("a", frozenset(TRAIN), pair)]
    assert waits_for([need], nodes) == "1 more worker with --nodes 2 on queue default"
    assert waits_for([need], [*nodes, Node("b", frozenset(TRAIN), pair)]) is None
    assert waits_for([need], [*nodes, Node("b", frozenset(TRAIN), alone)]) is None
    four = [Node("a", frozenset(TRAIN), Capabilities(nodes=4))]
    assert waits_for([need], four) == "3 more workers with --nodes 4 on queue default"
