"""Who makes way for whom: a pure function, and what the database makes of it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import datasets, workers
from core.db import Database, transaction
from core.models import UnitKind, UnitState
from core.runs import claims, control, preemption, reaping, units
from core.runs.capabilities import Capabilities, Need, Node, fits
from core.runs.claims import Claim, Wish, wish
from core.runs.preemption import Running, Waiting, who_yields
from tests.core.runs.making import (
    PROJECT,
    after,
    claim_next,
    events_of,
    make_job,
    ready_dataset,
    run_until,
    succeed,
    units_of,
)

EVERY = frozenset(UnitKind)


def node(name: str, *queues: str) -> Node:
    return Node(name, EVERY, Capabilities(queues or ("default",)))


def running(worker: str, priority: int, **more: Any) -> Running:
    return Running(
        f"unit-{worker}", 1, more.get("kind", UnitKind.train), priority, worker, more.get("yields", False)
    )


def waiting(priority: int, queue: str = "default") -> Waiting:
    return Waiting(f"job-{priority}", priority, Need(UnitKind.encode, queue))


def test_the_training_of_the_lowest_priority_makes_way() -> None:
    nodes = [node("a"), node("b"), node("c")]
    at_work = [running("a", 2), running("b", 1), running("c", 3)]
    assert [(victim.worker, unit.job_id) for victim, unit in who_yields([waiting(9)], at_work, nodes)] == [
        ("b", "job-9")
    ]
    two = who_yields([waiting(9), waiting(2)], at_work, nodes)
    assert [(victim.worker, unit.priority) for victim, unit in two] == [("b", 9)]  # 2 is not more than 2


@pytest.mark.parametrize(
    ("at_work", "nodes", "why"),
    [
        ([running("a", 0)], [node("a"), node("idle")], "a worker is idle"),
        ([running("a", 0, yields=True)], [node("a")], "one makes way already"),
        ([running("a", 9)], [node("a")], "the same priority"),
        ([running("a", 0, kind=UnitKind.generate)], [node("a")], "what is short is waited for"),
        ([running("a", 0)], [node("a", "other")], "another pool"),
        ([running("a", 0)], [], "nobody is known to have it"),
    ],
)
def test_nobody_makes_way_without_need(at_work: list[Running], nodes: list[Node], why: str) -> None:
    assert who_yields([waiting(9)], at_work, nodes) == [], why


POOLS = st.sampled_from([("x",), ("y",), ("x", "y")])


@given(
    pools=st.lists(POOLS, max_size=6),
    at_work=st.lists(
        st.tuples(st.integers(-3, 3), st.sampled_from(["train", "generate"]), st.booleans()), max_size=6
    ),
    queue=st.lists(st.tuples(st.integers(-3, 3), st.sampled_from(["x", "y", "z"])), max_size=6),
)
def test_making_way_always_helps_a_higher_priority(
    pools: list[tuple[str, ...]], at_work: list[tuple[int, str, bool]], queue: list[tuple[int, str]]
) -> None:
    nodes = [node(f"n{number}", *queues) for number, queues in enumerate(pools)]
    busy = [
        running(each.name, priority, kind=UnitKind(kind), yields=yields)
        for each, (priority, kind, yields) in zip(nodes, at_work, strict=False)
    ]
    waits = [waiting(priority, name) for priority, name in queue]
    found = who_yields(waits, busy, nodes)
    by_name = {each.name: each for each in nodes}
    assert len({victim.unit_id for victim, _ in found}) == len(found)
    assert len({id(unit) for _, unit in found}) == len(found)
    for victim, unit in found:
        assert victim.priority < unit.priority
        assert victim.kind is UnitKind.train
        assert not victim.yields
        assert fits(unit.need, by_name[victim.worker])
    again = [running(v.worker, v.priority, yields=True) if v in [w for w, _ in found] else v for v in busy]
    assert who_yields(waits, again, nodes) == []  # the next look asks for nothing more


def lives(database: Database, *names: str) -> None:
    with transaction(database) as session:
        for name in names:
            workers.heartbeat(session, name=name, kind="units", kinds=tuple(UnitKind), has=Capabilities())


def make_way(database: Database) -> int:
    with transaction(database) as session:
        return preemption.make_way(session)


def wished(database: Database, claim: Claim) -> Wish:
    with transaction(database) as session:
        return wish(session, claim)


def training(database: Database, dataset: str) -> Claim:
    """Return the claim of a training of priority 0 by the only worker."""
    lives(database, "units-1")
    make_job(database, dataset)
    return run_until(database, UnitKind.train)


def test_a_training_makes_way_once_and_its_worker_goes_to_the_other(database: Database) -> None:
    dataset = ready_dataset(database)
    claim = training(database, dataset)
    assert make_way(database) == 0
    urgent = make_job(database, dataset, priority=5, hyperparameters={"resolution": 64})
    assert make_way(database) == 1
    assert make_way(database) == 0
    assert wished(database, claim) is Wish.make_way
    with transaction(database) as session:
        units.release_unit(session, claim)
    assert claim.job_id is not None
    [told] = [
        event.data
        for event in events_of(database, claim.job_id)
        if event.data and "preempted_by" in event.data
    ]
    assert (told["preempted_by"], told["state"]) == (urgent, "pending")
    [unit] = [unit for unit in units_of(database, claim.job_id) if unit.id == claim.unit_id]
    assert (unit.state, unit.attempt, unit.failures, unit.yield_to) == (UnitState.pending, 0, 0, None)
    assert claim_next(database).job_id == urgent
    assert make_way(database) == 0  # the lower one does not take it back


def test_the_wish_is_gone_when_the_other_found_a_worker(database: Database) -> None:
    dataset = ready_dataset(database)
    claim = training(database, dataset)
    make_job(database, dataset, priority=5, hyperparameters={"resolution": 64})
    assert make_way(database) == 1
    claim_next(database, worker="units-2")
    assert wished(database, claim) is Wish.go_on
    make_job(database, dataset, priority=7, hyperparameters={"resolution": 128})
    assert make_way(database) == 1  # for the new one
    assert wished(database, claim) is Wish.make_way


def test_a_pause_comes_before_making_way_and_is_what_is_told(database: Database) -> None:
    dataset = ready_dataset(database)
    claim = training(database, dataset)
    make_job(database, dataset, priority=5, hyperparameters={"resolution": 64})
    assert make_way(database) == 1
    assert claim.job_id is not None
    with transaction(database) as session:
        control.pause_job(session, project_id=PROJECT, job_id=claim.job_id)
    assert wished(database, claim) is Wish.pause
    with transaction(database) as session:
        units.release_unit(session, claim)
    assert not [
        event for event in events_of(database, claim.job_id) if event.data and "preempted_by" in event.data
    ]


def test_what_was_to_make_way_and_died_starts_without_the_wish(database: Database) -> None:
    dataset = ready_dataset(database)
    claim = training(database, dataset)
    make_job(database, dataset, priority=5, hyperparameters={"resolution": 64})
    assert make_way(database) == 1
    with transaction(database) as session:
        assert reaping.reap(session, now=after(31)) == 1
    again = claim_next(database, kinds=(UnitKind.train,), now=after(40))
    assert again.unit_id == claim.unit_id
    assert wished(database, again) is Wish.go_on


def test_an_upload_stops_no_training_and_preemption_can_be_turned_off(database: Database) -> None:
    dataset = ready_dataset(database)
    claim = training(database, dataset)
    with transaction(database) as session:
        datasets.create_dataset(session, project_id=PROJECT, name="more", file_id="file-1")
    assert make_way(database) == 0
    make_job(database, dataset, priority=5, hyperparameters={"resolution": 64})
    with transaction(database) as session:
        off = session.info["settings"].model_copy(update={"preemption": False})
        session.info["settings"] = off
        assert preemption.make_way(session) == 0
    assert wished(database, claim) is Wish.go_on
    succeed(database, claim)
    with transaction(database) as session:
        assert claims.anything_pending(session)
