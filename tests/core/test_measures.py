"""What is measured: gauges at this moment, and counters of attempts that are neither lost nor doubled."""

from datetime import timedelta
from typing import Any

from sqlalchemy import select, update

from core import drawing_claims, drawing_tallies, drawings, measures, tallies, workers
from core.clock import database_now, utcnow
from core.db import Database, transaction
from core.models import (
    Attempt,
    Device,
    Job,
    Outbox,
    Project,
    Unit,
    UnitKind,
    UnitState,
    WebhookEndpoint,
)
from core.runs import reaping, units
from core.runs.capabilities import Capabilities
from tests.core.runs.making import LEASE, PROJECT, after, claim_next, ground, make_job, ready_dataset, succeed


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
    assert found["spindle_units_ready", "default", "ingest"] == 2
    assert found["spindle_units_without_worker", "default", "ingest"] == 2  # none has said what it does
    assert found["spindle_doorbells_unsent",] == 1
    assert found["spindle_workers", "beat"] == 0
    assert found["spindle_workers", "units"] == 2
    assert found["spindle_workers", "serve"] == 1


def waiting(database: Database) -> tuple[float, float, float]:
    """Return how many encode units are ready, how many of them no worker could run, and the oldest's age."""
    with transaction(database) as session:
        found = {(each.name, *sorted(each.labels.values())): each.value for each in measures.gauges(session)}
    names = ("spindle_units_ready", "spindle_units_without_worker", "spindle_oldest_pending_seconds")
    ready, without, seconds = (found[name, "default", "encode"] for name in names)
    return ready, without, seconds


def test_only_what_waits_for_nothing_but_a_worker_counts_as_waiting(database: Database) -> None:
    job_id = make_job(database, ready_dataset(database))
    assert waiting(database)[:2] == (1, 1)
    with transaction(database) as session:
        has = Capabilities(("big",), Device.cpu)
        workers.heartbeat(session, name="elsewhere", kind="units", kinds=tuple(UnitKind), has=has)
    assert waiting(database)[:2] == (1, 1)
    with transaction(database) as session:
        has = Capabilities(("default",), Device.cpu)
        workers.heartbeat(session, name="here", kind="units", kinds=tuple(UnitKind), has=has)
        session.execute(update(Unit).values(pending_at=database_now(plus=-90)))
    ready, without, seconds = waiting(database)
    assert (ready, without) == (1, 0)
    assert 90 <= seconds < 150
    for change in (
        update(Job).where(Job.id == job_id).values(pause_requested=True),
        update(Unit).values(not_before=database_now(plus=60)),
        update(Project).values(max_running=0),
    ):
        with transaction(database) as session:
            session.execute(change)
            session.flush()
        assert waiting(database) == (0, 0, 0)
        with transaction(database) as session:
            session.execute(update(Job).values(pause_requested=False))
            session.execute(update(Unit).values(not_before=None))
            session.execute(update(Project).values(max_running=None))


def test_endpoints_that_fail_are_told(database: Database) -> None:
    with transaction(database) as session:
        ground(session)
        for name, failing, enabled in (("a", -90, True), ("b", None, True), ("c", -900, False)):
            since = None if failing is None else database_now(plus=failing)
            told = {"name": name, "url": "https://a.org", "event_types": [], "secret": "s"}
            session.add(
                WebhookEndpoint(
                    id=f"whk-{name}", project_id=PROJECT, enabled=enabled, failing_since=since, **told
                )
            )
    with transaction(database) as session:
        found = {each.name: each.value for each in measures.gauges(session)}
    assert found["spindle_webhooks_failing"] == 1
    assert 90 <= found["spindle_webhooks_failing_seconds"] < 150
    assert found["spindle_webhooks_overdue"] == 0


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


def test_pictures_are_counted_once_by_how_they_ended(database: Database) -> None:
    with transaction(database) as session:
        ground(session)
    request: dict[str, Any] = {"prompt": "a fox", "negative_prompt": None, "width": None, "height": None}
    request |= {"steps": 5, "guidance_scale": 2.0, "project_id": PROJECT, "model": "starter"}
    with transaction(database) as session:
        ids = [
            drawings.request_drawing(session, seeds=list(range(n)), background=n == 3, **request).id
            for n in (1, 2, 3, 4)
        ]
        gauges = {(each.name, *each.labels.values()): each.value for each in measures.gauges(session)}
    assert gauges["spindle_pictures_waiting", "interactive"] == 7
    assert gauges["spindle_pictures_waiting", "background"] == 3
    assert 0 <= gauges["spindle_oldest_picture_seconds", "interactive"] < 60
    with transaction(database) as session:
        claims = drawing_claims.claim_drawings(session, worker="w", lease_seconds=30, pictures=3)
        [one, two] = claims
        files = [{"path": "0.png", "key": "k", "sha256": "a" * 64, "size": 1}]
        drawing_claims.finish_drawing(session, one, files=files, seconds=0.2, together=3)
        drawing_claims.fail_drawing(session, two, reason="user_error", message="no")
        drawings.cancel_drawing(session, project_id=PROJECT, drawing_id=ids[3])
    assert drawing_tallies.count_drawings(database) == 3
    assert drawing_tallies.count_drawings(database) == 0
    found = counted(database)
    outcomes = {name[1]: value for name, value in found.items() if name[0] == "spindle_pictures"}
    assert outcomes["internal"] == 0  # told from the start
    assert {end: value for end, value in outcomes.items() if value} == {
        "succeeded": 1,
        "user_error": 2,
        "cancelled": 4,
    }
    sizes = [found["spindle_drawing_batch_pictures", "interactive", bound] for bound in ("2", "4", "+Inf")]
    assert sizes == [0, 1, 1]
    assert found["spindle_drawing_seconds", "interactive", "+Inf"] == 1
    assert found["spindle_drawing_wait_seconds", "interactive", "sum"] >= 0
