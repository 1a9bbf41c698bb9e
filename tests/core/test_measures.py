"""What is measured: gauges at this moment, and counters of attempts that are neither lost nor doubled."""

from datetime import timedelta

from sqlalchemy import select, update

from core import measures, tallies, workers
from core.clock import database_now, utcnow
from core.db import Database, transaction
from core.models import Attempt, Outbox, Unit, UnitKind, UnitState
from core.runs import reaping, units
from tests.core.runs.making import LEASE, PROJECT, after, claim_next, make_job, ready_dataset, succeed


def counted(database: Database) -> dict[tuple[str, ...], float]:
    """Return each counter by its name and labels."""
    with transaction(database) as session:
        counts, spreads = measures.counters(session)
    found = {(each.name, *sorted(each.labels.values())): each.value for each in counts}
    for each in spreads:
        found |= {(each.name, *sorted(each.labels.values()), bound): number for bound, number in each.buckets}
        found[each.name, *sorted(each.labels.values()), "sum"] = each.sum
    return found


def test_gauges_count_by_state(database: Database) -> None:
    with transaction(database) as session:
        for state in (UnitState.pending, UnitState.pending, UnitState.running):
            session.add(
                Unit(
                    id=f"unit-{len(session.new)}",
                    kind=UnitKind.ingest,
                    state=state,
                    queue="big" if state is UnitState.running else "default",
                    pending_at=database_now(plus=-90),
                )
            )
        session.add(Outbox(id="msg-1", task="t", payload="p"))
        workers.heartbeat(session, name="a", kind="units")
        workers.heartbeat(session, name="b", kind="units")
        workers.heartbeat(session, name="c", kind="serve")
    with transaction(database) as session:
        found = {(each.name, *sorted(each.labels.values())): each.value for each in measures.gauges(session)}
    assert found["spindle_units", "default", "ingest", "pending"] == 2
    assert found["spindle_units", "big", "ingest", "running"] == 1
    assert found["spindle_units", "default", "pending", "train"] == 0
    assert 90 <= found["spindle_oldest_pending_seconds", "default", "ingest"] < 150
    assert found["spindle_oldest_pending_seconds", "default", "train"] == 0
    assert found["spindle_jobs", "queued"] == 0
    assert found["spindle_drawings", "pending"] == 0
    assert found["spindle_doorbells_unsent",] == 1
    assert found["spindle_workers", "units"] == 2
    assert found["spindle_workers", "serve"] == 1


def test_attempts_are_counted_once_by_how_they_ended(database: Database) -> None:
    make_job(database, ready_dataset(database))
    first = claim_next(database)
    assert first.kind is UnitKind.encode
    with transaction(database) as session:
        units.fail_unit(session, first, reason="internal", message="broke", now=after(0))
    second = claim_next(database, now=after(10))
    with transaction(database) as session:
        assert reaping.reap(session, now=after(11 + LEASE)) == 1
    third = claim_next(database, now=after(600))
    with transaction(database) as session:
        units.release_unit(session, third)
    running = claim_next(database, now=after(600))
    assert {claim.unit_id for claim in (first, second, third, running)} == {first.unit_id}

    assert tallies.count_attempts(database) == 5 + 4  # with the ingest; one has not ended
    assert tallies.count_attempts(database) == 0
    found = counted(database)
    assert found["spindle_claims", "encode"] == 4
    assert found["spindle_attempts", "encode", "internal"] == 1
    assert found["spindle_attempts", "encode", "worker_lost"] == 1
    assert found["spindle_attempts", "encode", "preempted"] == 1
    assert found["spindle_lease_losses", "encode"] == 1
    retries = {name[1:] for name in found if name[0] == "spindle_retries"}
    assert retries == {("encode", "internal"), ("encode", "worker_lost"), ("encode", "preempted")}

    succeed(database, running)
    assert tallies.count_attempts(database) == 1
    found = counted(database)
    assert found["spindle_attempts", "encode", "succeeded"] == 1
    assert found["spindle_claims", "encode"] == 4
    assert found["spindle_unit_seconds", "encode", "+Inf"] == 1
    assert ("spindle_project_seconds", "encode", PROJECT) in found


def test_durations_fall_into_their_buckets(database: Database) -> None:
    ready_dataset(database)
    with transaction(database) as session:
        unit_id = session.scalars(select(Attempt.unit_id)).one()
        session.execute(update(Attempt).values(started_at=utcnow() - timedelta(days=9), ended_at=utcnow()))
        ended = {"ended_at": utcnow(), "outcome": "succeeded", "worker": "w"}
        for fence, seconds in ((7, 0.5), (8, 5.0), (9, 61.0)):
            started = ended["ended_at"] - timedelta(seconds=seconds)
            session.add(Attempt(unit_id=unit_id, fence=fence, started_at=started, gpus=2, **ended))
    tallies.count_attempts(database)
    found = counted(database)
    buckets = [found["spindle_unit_seconds", "ingest", bound] for bound in ("1", "5", "60", "300", "+Inf")]
    assert buckets == [1, 2, 2, 3, 4]
    assert found["spindle_gpu_seconds", PROJECT] == 2 * 66.5
    assert found["spindle_unit_seconds", "ingest", "sum"] > 9 * 24 * 3600 + 66
