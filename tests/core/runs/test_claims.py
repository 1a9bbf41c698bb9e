"""Claims: one holder at a time, in the right order, proven by the fence, lost with the lease."""

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.db import Database, transaction
from core.errors import StaleFence
from core.models import Attempt, JobState, Outbox, UnitKind, UnitState
from core.queue import RUN_UNIT
from core.runs import claims, control, reaping, records, units
from core.runs.claims import Claim, Wish
from core.sources import work_for
from spin_engine.objectives.seppo import SeppoHyperparameters
from tests.core.runs.making import (
    FILES,
    LEASE,
    PROJECT,
    START,
    after,
    claim_next,
    events_of,
    job_of,
    make_job,
    nothing_to_claim,
    ready_dataset,
    run_until,
    snapshot,
    succeed,
    units_of,
)


def test_a_claim_takes_the_lease_raises_the_fence_and_starts_the_job(database: Database) -> None:
    job_id = make_job(database, ready_dataset(database))
    claim = claim_next(database, worker="units-9")
    unit = units_of(database, job_id)[0]
    assert (claim.kind, claim.fence, claim.attempt, claim.worker) == (UnitKind.encode, 1, 1, "units-9")
    assert (unit.state, unit.lease_expires_at, unit.worker) == (UnitState.running, after(LEASE), "units-9")
    assert job_of(database, job_id).state is JobState.running
    assert claim.prefix == f"jobs/{job_id}/units/{unit.id}/1"


def test_threads_that_claim_at_once_never_share_a_unit(database: Database) -> None:
    """Four threads race for the nine generate units of three jobs; each unit is held exactly once."""
    dataset = ready_dataset(database, rows=192)
    for _ in range(3):
        make_job(database, dataset, hyperparameters={"n_iterations": 1, "steps": 2})
    succeed(database, claim_next(database, kinds=(UnitKind.encode,)))
    with transaction(database) as session:  # the other jobs' encode units are done with it
        assert claims.claim_unit(session, worker="w", lease_seconds=LEASE, kinds=(UnitKind.encode,)) is None
    held: list[Claim] = []
    guard = threading.Lock()
    start = threading.Barrier(4)

    def work(name: str) -> None:
        start.wait()
        while True:
            with transaction(database) as session:
                claim = claims.claim_unit(
                    session, worker=name, lease_seconds=LEASE, kinds=(UnitKind.generate,), now=START
                )
            if claim is None:
                return
            with guard:
                held.append(claim)

    threads = [threading.Thread(target=work, args=(f"units-{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(claim.unit_id for claim in held).most_common(1)[0][1] == 1
    assert len(held) == 9
    assert {claim.fence for claim in held} == {1}


def test_events_told_by_many_threads_have_no_gap(database: Database) -> None:
    dataset = ready_dataset(database, rows=256)
    job_id = make_job(database, dataset)
    succeed(database, claim_next(database))
    held = [claim_next(database, kinds=(UnitKind.generate,)) for _ in range(4)]

    def tell(claim: Claim) -> None:
        for number in range(5):
            with transaction(database) as session:
                records.record_events(
                    session, claim, [{"type": "message", "text": f"{claim.shard}.{number}"}]
                )

    threads = [threading.Thread(target=tell, args=(claim,)) for claim in held]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    events = events_of(database, job_id)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert [event.id for event in events] == sorted(event.id for event in events)
    told = [event.message for event in events if event.type == "message"]
    for claim in held:
        assert [text for text in told if text.startswith(f"{claim.shard}.")] == [
            f"{claim.shard}.{number}" for number in range(5)
        ]
    assert len(told) == 20


def test_the_highest_priority_and_then_the_oldest_job_goes_first(database: Database) -> None:
    dataset = ready_dataset(database)
    first = make_job(database, dataset)
    make_job(database, dataset, hyperparameters={"resolution": 64})
    urgent = make_job(database, dataset, hyperparameters={"resolution": 128}, priority=5)
    assert claim_next(database).job_id == urgent
    assert claim_next(database).job_id == first


def test_a_renewed_lease_lasts_and_an_expired_one_is_taken(database: Database) -> None:
    job_id = make_job(database, ready_dataset(database))
    claim = claim_next(database)
    with transaction(database) as session:
        assert claims.renew(session, claim, lease_seconds=LEASE, now=after(20))
    with transaction(database) as session:
        assert reaping.reap(session, now=after(49)) == 0
    with transaction(database) as session:
        assert reaping.reap(session, now=after(51)) == 1
    unit = units_of(database, job_id)[0]
    assert (unit.state, unit.failures, unit.not_before) == (UnitState.pending, 1, after(53))
    with transaction(database) as session:
        assert not claims.renew(session, claim, lease_seconds=LEASE, now=after(51))
    assert nothing_to_claim(database, now=after(52.9))
    again = claim_next(database, worker="units-2", now=after(53.1))
    assert (again.unit_id, again.fence, again.attempt) == (claim.unit_id, 2, 2)
    with transaction(database) as session:
        outcomes = [row.outcome for row in session.scalars(select(Attempt).order_by(Attempt.fence))]
    assert outcomes[-2:] == ["worker_lost", None]


def test_a_worker_alone_takes_expired_units_without_the_reaper(database: Database) -> None:
    make_job(database, ready_dataset(database))
    claim = claim_next(database)
    assert nothing_to_claim(database, now=after(31))  # this look requeued it, to be tried again in 2 s
    assert claim_next(database, now=after(34)).unit_id == claim.unit_id


LOSS = {"type": "metrics", "iteration": 1, "step": 1, "values": {"loss": 0.5}}
SAMPLE: dict[str, Any] = {"iteration": 1, "index": 0, "prompt": "a dog", "seed": 1, "key": "k/sample"}
WRITES: dict[str, Callable[[Session, Claim], object]] = {
    "event": lambda session, claim: records.record_events(session, claim, [LOSS]),
    "checkpoint": lambda session, claim: records.record_checkpoint(
        session, claim, iteration=1, step=5, files=FILES
    ),
    "sample": lambda session, claim: records.record_sample(session, claim, **SAMPLE),
    "success": lambda session, claim: units.succeed_unit(session, claim, output={"files": FILES}),
    "failure": lambda session, claim: units.fail_unit(session, claim, reason="internal", message="boom"),
    "release": units.release_unit,
}


@pytest.mark.parametrize("write", WRITES)
def test_a_stale_writer_is_refused_and_nothing_changes(database: Database, write: str) -> None:
    """The zombie: it held the unit, was silent for too long, and comes back while another works."""
    make_job(database, ready_dataset(database))
    zombie = claim_next(database)
    with transaction(database) as session:
        reaping.reap(session, now=after(31))
    claim_next(database, worker="units-2", now=after(40))
    before = snapshot(database)
    with pytest.raises(StaleFence), transaction(database) as session:
        WRITES[write](session, zombie)
    assert snapshot(database) == before
    with transaction(database) as session:
        assert claims.wish(session, zombie) is Wish.lost
        assert not claims.renew(session, zombie, lease_seconds=LEASE)


def test_a_paused_zombie_is_stale_before_anyone_claims_again(database: Database) -> None:
    make_job(database, ready_dataset(database))
    zombie = claim_next(database)
    with transaction(database) as session:
        reaping.reap(session, now=after(31))
    with pytest.raises(StaleFence), transaction(database) as session:
        units.succeed_unit(session, zombie, output={"files": FILES})


def test_a_dead_workers_units_are_given_back_at_once_and_only_its(database: Database) -> None:
    dataset = ready_dataset(database, rows=128)
    job_id = make_job(database, dataset)
    succeed(database, claim_next(database))
    mine = claim_next(database, worker="units-1", kinds=(UnitKind.generate,))
    other = claim_next(database, worker="units-2", kinds=(UnitKind.generate,))
    with transaction(database) as session:
        assert reaping.give_back(session, worker="units-1", now=START) == 1
    states = {unit.id: unit.state for unit in units_of(database, job_id)}
    assert states[mine.unit_id] is UnitState.pending
    assert states[other.unit_id] is UnitState.running


def test_content_that_another_job_made_is_not_made_again(database: Database) -> None:
    dataset = ready_dataset(database)
    make_job(database, dataset)
    second = make_job(database, dataset, hyperparameters={"sft_steps": 2})
    other = make_job(database, dataset, hyperparameters={"resolution": 64})
    encode = claim_next(database)
    assert claim_next(database).job_id == other  # the second job's encode waits for the first's
    succeed(database, encode)
    claim = claim_next(database, kinds=(UnitKind.encode, UnitKind.train))
    assert (claim.job_id, claim.kind) == (second, UnitKind.train)
    mine = units_of(database, second)[0]
    assert (mine.state, mine.output, mine.attempt) == (UnitState.succeeded, {"files": FILES}, 0)
    with transaction(database) as session:
        assert [file.key for file in work_for(session, unit_id=claim.unit_id).inputs["encoded"].files] == [
            "k/1",
            "k/2",
        ]


def test_shards_of_encoded_data_are_shared_one_by_one(database: Database) -> None:
    dataset = ready_dataset(database, rows=600)
    first, second = make_job(database, dataset), make_job(database, dataset)
    make_job(database, dataset, hyperparameters={"aspect_buckets": True})  # other data
    kinds = (UnitKind.encode,)
    mine = [claim_next(database, worker=f"units-{number}", kinds=kinds) for number in range(4)]
    assert [(claim.job_id == first, claim.shard, claim.shards) for claim in mine] == [
        (True, 0, 2),
        (True, 1, 2),
        (False, 0, 2),
        (False, 1, 2),
    ]
    files = [
        [{"path": f"shard-{shard}", "key": f"k/{shard}", "sha256": "a" * 64, "size": 1}] for shard in (0, 1)
    ]
    for claim in mine[1::-1]:  # the last shard is ready first
        with transaction(database) as session:
            units.succeed_unit(session, claim, output={"files": files[claim.shard]})
    claim = claim_next(database, kinds=(UnitKind.encode, UnitKind.generate))
    assert (claim.job_id, claim.kind) == (first, UnitKind.generate)
    with transaction(database) as session:
        found = work_for(session, unit_id=claim.unit_id).inputs["encoded"].files
    assert [file.key for file in found] == ["k/0", "k/1"]
    with transaction(database) as session:
        assert claims.claim_unit(session, worker="w", lease_seconds=LEASE, kinds=kinds, now=START) is None
    assert [unit.output for unit in units_of(database, second)[:2]] == [{"files": one} for one in files]


def test_inputs_follow_the_plan(database: Database) -> None:
    job_id = make_job(database, ready_dataset(database), hyperparameters={"sft_steps": 2})
    found: dict[tuple[str, int], set[str]] = {}
    weights: dict[tuple[str, int], int] = {}
    while not nothing_left(database, job_id):
        claim = claim_next(database)
        with transaction(database) as session:
            work = work_for(session, unit_id=claim.unit_id)
        found[claim.kind.value, claim.iteration] = set(work.inputs)
        if "weights" in work.inputs:
            weights[claim.kind.value, claim.iteration] = int(work.inputs["weights"].files[0].key)
            assert work.inputs["weights"].files[0].path == "unet.safetensors"
        files = [dict(FILES[0], key=str(claim.iteration)), FILES[1]]
        with transaction(database) as session:
            units.succeed_unit(session, claim, output={"files": files})
    assert found["encode", 0] == {"base", "data"}
    assert found["evaluate", -1] == {"base", "data", "encoded"}
    assert found["train", 0] == {"base", "encoded"}
    assert found["generate", 1] == {"base", "encoded", "weights"}
    assert found["train", 1] == {"base", "encoded", "weights", "rivals"}
    assert found["publish", 2] == {"base", "weights"}
    assert weights == {
        ("evaluate", 0): 0,
        ("generate", 1): 0,
        ("train", 1): 0,
        ("evaluate", 1): 1,
        ("generate", 2): 1,
        ("train", 2): 1,
        ("publish", 2): 2,
        ("evaluate", 2): 2,
    }
    assert job_of(database, job_id).state is JobState.succeeded


def inputs_of(
    database: Database, dataset: str, kind: str, **hyperparameters: Any
) -> dict[tuple[str, int], dict[str, int]]:
    """Return, of each unit that generates or trains, whose weights are which of its inputs."""
    job_id = make_job(database, dataset, kind=kind, hyperparameters=hyperparameters)
    found: dict[tuple[str, int], dict[str, int]] = {}
    while not nothing_left(database, job_id):
        claim = claim_next(database)
        with transaction(database) as session:
            inputs = work_for(session, unit_id=claim.unit_id).inputs
        if claim.kind in (UnitKind.generate, UnitKind.train):
            asked = {name: inputs[name] for name in ("weights", "reference") if name in inputs}
            found[claim.kind.value, claim.iteration] = {
                name: int(source.files[0].key) for name, source in asked.items()
            }
        files = [dict(FILES[0], key=str(claim.iteration)), FILES[1]]
        with transaction(database) as session:
            units.succeed_unit(session, claim, output={"files": files})
    return found


def test_an_opponent_drawn_by_lot_draws_and_judges(database: Database) -> None:
    settings = SeppoHyperparameters(n_iterations=5, earlier=4)
    drawn = {k: settings.opponent(k, seed=7) for k in settings.iterations}
    assert any(0 < opponent < k - 1 for k, opponent in drawn.items())
    dataset = ready_dataset(database)
    cached = inputs_of(database, dataset, "seppo", n_iterations=5, earlier=4)
    online = inputs_of(database, dataset, "seppo", n_iterations=5, earlier=4, reference="online")
    for k, opponent in drawn.items():
        own = {"weights": k - 1} if k > 1 else {}
        drawer = {"weights": opponent} if opponent else {}
        assert cached["generate", k] == online["generate", k] == drawer
        assert cached["train", k] == own
        other = {"reference": opponent} if opponent and opponent != k - 1 else {}
        assert online["train", k] == own | other


@pytest.mark.parametrize("gate", [False, True])
def test_a_gate_sees_the_held_out_data(database: Database, gate: bool) -> None:  # a parameter
    """In rounds of self-play, not in the supervised start, and only if there is a gate."""
    pictures = ready_dataset(database)
    settings = {"sft_steps": 2, "gate": gate}
    job_id = make_job(database, pictures, hyperparameters=settings, validation_file=pictures)
    seen: dict[int, bool] = {}
    while not nothing_left(database, job_id):
        claim = claim_next(database)
        with transaction(database) as session:
            inputs = work_for(session, unit_id=claim.unit_id).inputs
        if claim.kind is UnitKind.train:
            seen[claim.iteration] = "validation" in inputs
        succeed(database, claim)
    assert seen == {0: False, 1: gate, 2: gate}


def test_pairs_are_judged_beforehand_or_in_training(database: Database) -> None:
    dataset = ready_dataset(database)
    assert inputs_of(database, dataset, "dpo") == {("generate", 1): {}, ("train", 1): {}}
    assert inputs_of(database, dataset, "dpo", reference="online") == {("train", 1): {}}
    assert inputs_of(database, dataset, "mapo") == {("train", 1): {}}
    rounds = inputs_of(database, dataset, "dro", n_iterations=2)
    assert rounds["generate", 2] == rounds["train", 2] == {"weights": 1}


def nothing_left(database: Database, job_id: str) -> bool:
    return job_of(database, job_id).finished_at is not None


def test_training_goes_on_from_the_newest_checkpoint(database: Database) -> None:
    make_job(database, ready_dataset(database))
    claim = run_until(database, UnitKind.train)
    with transaction(database) as session:
        assert work_for(session, unit_id=claim.unit_id).resume is None
        first = records.record_checkpoint(session, claim, iteration=1, step=1, files=FILES)
        newest = [dict(FILES[0], key="k/newest")]
        records.record_checkpoint(session, claim, iteration=1, step=2, files=newest)
        assert records.record_checkpoint(session, claim, iteration=1, step=1, files=[]) == first
    with transaction(database) as session:
        resume = work_for(session, unit_id=claim.unit_id).resume
    assert resume is not None
    assert [file.key for file in resume.files] == ["k/newest"]


def test_each_unit_that_may_start_rings_its_own_bell(database: Database) -> None:
    job_id = make_job(database, ready_dataset(database, rows=256))
    succeed(database, claim_next(database))
    pending = {unit.id for unit in units_of(database, job_id) if unit.state is UnitState.pending}
    with transaction(database) as session:
        rung = {
            kind: set(session.scalars(select(Outbox.payload).where(Outbox.task == RUN_UNIT[kind])))
            for kind in (UnitKind.generate, UnitKind.evaluate)
        }
    assert [len(rung[kind]) for kind in rung] == [4, 1]  # four shards and the evaluation of the base
    assert pending == set().union(*rung.values())


def test_a_wish_reaches_the_unit_that_runs(database: Database) -> None:
    job_id = make_job(database, ready_dataset(database))
    claim = claim_next(database)
    with transaction(database) as session:
        assert claims.wish(session, claim) is Wish.go_on
        control.pause_job(session, project_id=PROJECT, job_id=job_id)
        assert claims.wish(session, claim) is Wish.pause
        control.cancel_job(session, project_id=PROJECT, job_id=job_id)
        assert claims.wish(session, claim) is Wish.cancel
