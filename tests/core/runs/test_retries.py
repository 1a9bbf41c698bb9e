"""Each reason has its own rule: how often, where, and what a person is told."""

import pytest

from core import workers
from core.db import Database, transaction
from core.models import Device, JobState, Reason, Unit, UnitKind, UnitState
from core.runs import records, units
from core.runs.capabilities import GIB, Capabilities
from core.runs.claims import Claim
from core.runs.retries import RULES, judge, looks, smaller
from core.sources import work_for
from tests.core.runs.making import (
    FILES,
    after,
    claim_next,
    events_of,
    job_of,
    make_job,
    nothing_to_claim,
    ready_dataset,
    run_until,
    units_of,
)

MOST = 3


def after_failures(*failures: tuple[Reason, str]) -> list[bool]:
    """Return of each failure in a row whether it parks the unit."""
    last, so_far, alike, parked = None, 0, 0, []
    for reason, message in failures:
        found = judge(reason, message, last=last, failures=so_far, alike=alike, most=MOST)
        last, so_far, alike = {"reason": reason.value, "message": message}, found.failures, found.alike
        parked.append(found.parked)
    return parked


def test_every_reason_has_a_rule() -> None:
    assert set(RULES) == set(Reason)
    assert all(rule.advice for reason, rule in RULES.items() if reason is not Reason.preempted)


@pytest.mark.parametrize(
    ("reason", "parked"),
    [
        (Reason.user_error, [True]),
        (Reason.out_of_memory, [False, True]),
        (Reason.device_lost, [False, False, True]),
        (Reason.disk_full, [False] * 11 + [True]),
        (Reason.worker_lost, [False, False, True]),
        (Reason.timeout, [False, False, True]),
        (Reason.internal, [False, False, True]),
        (Reason.preempted, [False] * 20),
    ],
)
def test_the_same_failure_parks_a_unit(reason: Reason, parked: list[bool]) -> None:
    assert after_failures(*[(reason, "boom")] * len(parked)) == parked


def test_failures_that_differ_are_tried_twice_as_often() -> None:
    different = [(Reason.internal, f"{word} broke") for word in "abcdef"]
    assert after_failures(*different) == [False] * 5 + [True]
    turns = [(Reason.internal, "boom"), (Reason.worker_lost, "gone")] * 3
    assert after_failures(*turns) == [False] * 5 + [True]
    back = [(Reason.internal, "a"), (Reason.internal, "b"), (Reason.internal, "b"), (Reason.internal, "b")]
    assert after_failures(*back) == [False, False, False, True]


def test_a_failure_is_known_again_without_its_numbers() -> None:
    one = "KeyError: 'x' at 0x7f3a, pid 12\nTraceback: line 1"
    other = "KeyError: 'x' at 0x99bb, pid 4711\nTraceback: line 2"
    assert looks("internal", one) == looks("internal", other)
    assert looks("internal", one) != looks("internal", "ValueError: y")
    assert looks("worker_lost", "silent") == looks("worker_lost", "killed from outside (SIGKILL)")


@pytest.mark.parametrize(
    ("batch", "micro", "half"), [(32, 32, 16), (32, 3, 1), (6, 6, 3), (9, 9, 3), (7, 7, 1), (2, 1, None)]
)
def test_smaller_batches_divide_the_batch(batch: int, micro: int, half: int | None) -> None:
    assert smaller(batch, micro) == half


def fail(database: Database, claim: Claim, reason: Reason, message: str = "boom", at: float = 0.0) -> Unit:
    with transaction(database) as session:
        units.fail_unit(session, claim, reason=reason, message=message, now=after(at))
    with transaction(database) as session:
        return session.get_one(Unit, claim.unit_id)


def lives(database: Database, name: str, *, memory: int | None = None) -> None:
    with transaction(database) as session:
        has = Capabilities(("default",), Device.gpu, 1, memory)
        workers.heartbeat(session, name=name, kind="units", kinds=tuple(UnitKind), has=has)


@pytest.mark.parametrize("reason", [Reason.device_lost, Reason.disk_full, Reason.worker_lost])
def test_what_a_worker_lost_goes_to_another_first(database: Database, reason: Reason) -> None:
    make_job(database, ready_dataset(database))
    lives(database, "units-1")
    lives(database, "units-2")
    claim = claim_next(database, worker="units-1")
    fail(database, claim, reason)
    with pytest.raises(AssertionError, match="nothing to claim"):
        claim_next(database, worker="units-1", now=after(3))
    assert claim_next(database, worker="units-2", now=after(3)).unit_id == claim.unit_id


def test_the_same_worker_is_better_than_none(database: Database) -> None:
    make_job(database, ready_dataset(database))
    lives(database, "units-1")
    lives(database, "units-2")
    claim = claim_next(database, worker="units-1")
    fail(database, claim, Reason.worker_lost)
    assert claim_next(database, worker="units-1", now=after(63)).unit_id == claim.unit_id  # nobody came


def test_the_only_worker_does_not_wait_for_another(database: Database) -> None:
    make_job(database, ready_dataset(database))
    lives(database, "units-1")
    claim = claim_next(database, worker="units-1")
    fail(database, claim, Reason.worker_lost)
    assert claim_next(database, worker="units-1", now=after(3)).unit_id == claim.unit_id


def test_memory_that_ran_out_asks_for_more(database: Database) -> None:
    make_job(database, ready_dataset(database))
    lives(database, "small", memory=8 * GIB)
    lives(database, "large", memory=24 * GIB)
    claim = claim_next(database, worker="small")
    unit = fail(database, claim, Reason.out_of_memory)
    assert (unit.state, unit.memory_bytes, unit.micro_batch) == (UnitState.pending, 8 * GIB + 1, None)
    assert fail(database, claim_next(database, worker="large", now=after(3)), Reason.out_of_memory).state is (
        UnitState.failed
    )


def test_memory_that_ran_out_everywhere_is_tried_in_smaller_batches(database: Database) -> None:
    make_job(database, ready_dataset(database), hyperparameters={"batch_size": 12})
    lives(database, "units-1", memory=8 * GIB)
    claim = run_until(database, UnitKind.train)
    unit = fail(database, claim, Reason.out_of_memory)
    assert (unit.state, unit.memory_bytes, unit.micro_batch) == (UnitState.pending, 0, 6)
    with transaction(database) as session:
        method = work_for(session, unit_id=claim.unit_id).method
    assert method["spin"]["hyperparameters"]["micro_batch_size"] == 6
    assert method["spin"]["hyperparameters"]["batch_size"] == 12


def test_progress_forgives_what_was_alike(database: Database) -> None:
    job_id = make_job(database, ready_dataset(database))
    claim = run_until(database, UnitKind.train)
    for step in range(1, 5):
        unit = fail(database, claim, Reason.out_of_memory, at=step * 10.0)
        assert (unit.failures, unit.alike, unit.state) == (1, 1, UnitState.pending)
        claim = claim_next(database, now=after(step * 10.0 + 3), kinds=(UnitKind.train,))
        with transaction(database) as session:
            records.record_checkpoint(session, claim, iteration=1, step=step, files=FILES)
    assert job_of(database, job_id).state is JobState.running


def test_a_process_that_says_preempted_costs_nothing(database: Database) -> None:
    make_job(database, ready_dataset(database))
    unit = fail(database, claim_next(database), Reason.preempted)
    assert (unit.state, unit.attempt, unit.failures, unit.not_before) == (UnitState.pending, 0, 0, None)
    assert not nothing_to_claim(database)


def test_a_parked_unit_tells_what_a_person_needs(database: Database) -> None:
    job_id = make_job(database, ready_dataset(database))
    for number, at in ((1, 0.0), (2, 10.0), (3, 30.0)):
        claim = claim_next(database, worker=f"units-{number}", now=after(at))
        fail(database, claim, Reason.internal, f"KeyError: {number}\nFile a.py\nFile b.py", at=at)
    failure = job_of(database, job_id).failure
    assert failure is not None
    assert failure["log"] == ["File a.py", "File b.py"]
    assert failure["what_to_do"] == RULES[Reason.internal].advice
    told = [(each["worker"], each["outcome"], each["message"]) for each in failure["attempts"]]
    assert told == [(f"units-{number}", "internal", f"KeyError: {number}") for number in (1, 2, 3)]
    assert all(each["started_at"] <= each["ended_at"] for each in failure["attempts"])
    first = units_of(database, job_id)[0]
    [event] = [
        each
        for each in events_of(database, job_id)
        if each.type == "unit" and each.level == "error" and each.data and each.data["unit"] == first.id
    ]
    assert event.message == (
        "encode 0: Something went wrong on our side: KeyError: 3; given up. The same happened each time: "
        "report it with this message and the log lines; another try will not help."
    )
