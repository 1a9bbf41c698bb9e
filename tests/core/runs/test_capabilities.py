"""Units go to workers that have what they need, and a job says which worker is missing."""

import pytest
from sqlalchemy import update

from core import workers
from core.db import Database, transaction
from core.models import Device, Model, Project, Unit, UnitKind
from core.runs import candidates, claims, jobs, views
from core.runs.capabilities import GIB, Capabilities, Need, Node, said, waits_for
from core.runs.claims import Claim
from core.runs.lifecycle import lock
from core.settings import Settings
from tests.core.runs.making import (
    LEASE,
    PROJECT,
    START,
    claim_next,
    make_job,
    ready_dataset,
    succeed,
    units_of,
)

LARGE = {
    "parameters": 860_000_000,
    "per_rank": 100_000,
    "channels": 4,
    "factor": 8,
    "side": 64,
    "text": 77 * 768,
    "other_bytes": 0,
}
CPU = Capabilities(device=Device.cpu, memory_bytes=16 * GIB)
GPU = Capabilities(device=Device.gpu, gpus=1, memory_bytes=24 * GIB)


def claim_as(database: Database, has: Capabilities, *, worker: str = "units-1") -> Claim | None:
    with transaction(database) as session:
        return claims.claim_unit(session, worker=worker, lease_seconds=LEASE, has=has, now=START)


def large_model(database: Database) -> None:
    with transaction(database) as session:
        session.get_one(Model, "starter").size = LARGE


def test_a_large_models_units_need_a_gpu_but_for_those_that_copy(database: Database) -> None:
    dataset = ready_dataset(database)
    large_model(database)
    job_id = make_job(database, dataset, hyperparameters={"adapter": "full"})
    needed = {(unit.kind, unit.device) for unit in units_of(database, job_id)}
    assert needed == {
        (UnitKind.encode, Device.gpu),
        (UnitKind.generate, Device.gpu),
        (UnitKind.train, Device.gpu),
        (UnitKind.evaluate, Device.gpu),
        (UnitKind.publish, Device.cpu),
    }
    weights = 4 * LARGE["parameters"]
    memory = {unit.kind: unit.memory_bytes for unit in units_of(database, job_id)}
    assert memory[UnitKind.train] == 4 * weights  # weights, gradients, two moments
    assert memory[UnitKind.generate] == memory[UnitKind.evaluate] == weights
    assert memory[UnitKind.encode] == memory[UnitKind.publish] == 0
    assert claim_as(database, CPU) is None
    claim = claim_as(database, GPU)
    assert claim is not None
    assert claim.kind is UnitKind.encode


def test_whoever_asks_for_a_cpu_gets_one(database: Database) -> None:
    dataset = ready_dataset(database)
    large_model(database)
    make_job(database, dataset, device=Device.cpu)
    assert claim_as(database, CPU) is not None


def test_a_gpu_does_what_needs_none(database: Database) -> None:
    make_job(database, ready_dataset(database))
    assert claim_as(database, GPU) is not None


def test_memory_must_be_enough(database: Database) -> None:
    job_id = make_job(database, ready_dataset(database))
    with transaction(database) as session:
        session.execute(update(Unit).where(Unit.job_id == job_id).values(memory_bytes=40 * GIB))
    assert claim_as(database, GPU) is None
    assert claim_as(database, Capabilities(memory_bytes=40 * GIB)) is not None


def test_a_queue_is_served_by_its_workers_alone(database: Database) -> None:
    dataset = ready_dataset(database)
    big = make_job(database, dataset, queue="big", priority=9)
    default = make_job(database, dataset, hyperparameters={"resolution": 64})
    first = claim_as(database, Capabilities(("default",)))
    assert first is not None
    assert first.job_id == default
    assert claim_as(database, Capabilities(("other",))) is None
    both = claim_as(database, Capabilities(("default", "big")))
    assert both is not None
    assert both.job_id == big


def test_of_two_queues_the_higher_priority_goes_first(database: Database) -> None:
    dataset = ready_dataset(database)
    make_job(database, dataset, queue="a", priority=1)
    urgent = make_job(database, dataset, queue="b", priority=2, hyperparameters={"resolution": 64})
    claim = claim_as(database, Capabilities(("a", "b")))
    assert claim is not None
    assert claim.job_id == urgent


def test_a_unit_that_older_code_wrote_is_adopted(database: Database) -> None:
    job_id = make_job(database, ready_dataset(database), priority=3)
    with transaction(database) as session:
        session.execute(update(Unit).where(Unit.job_id == job_id).values(project_id=None, rank=0))
    assert claim_as(database, GPU) is None
    with transaction(database) as session:
        assert candidates.adopt(session) == 1  # the others are when they may start
    unit = units_of(database, job_id)[0]
    assert (unit.project_id, unit.rank) == (PROJECT, -3)
    assert claim_as(database, GPU) is not None


def test_what_waits_is_claimed_by_a_gap_filler_too(database: Database) -> None:
    """A claimer that skips the first units, because others are at them, still gets one."""
    dataset = ready_dataset(database, rows=256)
    make_job(database, dataset)
    succeed(database, claim_next(database))
    who = candidates.Claimer("w", (UnitKind.generate,))
    with transaction(database) as session:
        rows = [candidates.next_units(session, who, skip=skip, now=START) for skip in range(5)]
    assert len({row.id for [row] in rows[:4]}) == 4
    assert rows[4] == []


@pytest.mark.parametrize("settings", ["cluster"], indirect=True)  # SQLite's one writer shuts out all others
def test_a_job_that_another_claims_just_now_is_passed_over_for_one_of_its_rank(database: Database) -> None:
    dataset = ready_dataset(database)
    first, second = (make_job(database, dataset, hyperparameters={"resolution": size}) for size in (16, 32))
    with transaction(database) as session:
        session.add(Project(id="proj-2", name="two"))
        session.flush()
        session.execute(update(Unit).where(Unit.job_id == second).values(project_id="proj-2"))
    with transaction(database) as session:
        lock(session, first)
        assert claim_next(database).job_id == second
    assert claim_next(database).job_id == first


NODES = [
    Node("a", frozenset({UnitKind.encode}), Capabilities(("default",), Device.cpu, 0, None)),
    Node("b", frozenset(UnitKind), Capabilities(("big",), Device.gpu, 1, 16 * GIB)),
]


@pytest.mark.parametrize(
    ("need", "told"),
    [
        (Need(UnitKind.encode), None),
        (Need(UnitKind.train), "a worker on queue default that takes train units"),
        (Need(UnitKind.train, "big", Device.gpu, 16 * GIB), None),
        (Need(UnitKind.train, "big", Device.gpu, 23 * GIB + 5), "a worker with a GPU of 24 GB on queue big"),
        (Need(UnitKind.encode, "default", Device.gpu), "a worker with a GPU on queue default"),
        (Need(UnitKind.train, "huge", Device.cpu, 2 * GIB), "a worker with memory of 2 GB on queue huge"),
    ],
)
def test_a_missing_worker_is_told_in_words(need: Need, told: str | None) -> None:
    assert waits_for([need], NODES) == told
    assert told is None or told.startswith(said(need))


def test_a_job_says_what_it_waits_for(database: Database, settings: Settings) -> None:
    dataset = ready_dataset(database)
    job_id = make_job(database, dataset, queue="big", device=Device.gpu)

    def told() -> str | None:
        with transaction(database) as session:
            job = jobs.get_job(session, project_id=PROJECT, job_id=job_id)
            return views.describe_jobs(session, [job])[job_id].waits_for

    def lives(name: str, has: Capabilities) -> None:
        with transaction(database) as session:
            workers.heartbeat(session, name=name, kind="units", kinds=tuple(UnitKind), has=has)

    lives("cpu", Capabilities(("big",), Device.cpu, 0, 64 * GIB))
    assert told() == "a worker with a GPU on queue big"
    lives("gpu", Capabilities(("big",), Device.gpu, 1, 24 * GIB))
    assert told() is None
    with transaction(database) as session:
        workers.leave(session, name="gpu")
    assert told() == "a worker with a GPU on queue big"
    assert settings.gpu_from_parameters == 100_000_000
