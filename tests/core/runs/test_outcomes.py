"""How units end, and what becomes of their jobs: retries by reason, failures, pauses, cancellations."""

import pytest
from sqlalchemy import func, select

from core import datasets
from core.db import Database, transaction
from core.errors import Conflict, NotFound
from core.models import Event, JobState, Model, ModelKind, Reason, Unit, UnitKind, UnitState
from core.runs import control, jobs, reaping, records, units, views
from core.runs.claims import Claim, Wish, wish
from core.runs.retries import RULES
from tests.core.runs.making import (
    FILES,
    PROJECT,
    after,
    claim_next,
    events_of,
    ground,
    job_of,
    make_job,
    nothing_to_claim,
    ready_dataset,
    run_until,
    snapshot,
    succeed,
    units_of,
)


def fail(database: Database, claim: Claim, reason: str, at: float = 0.0) -> None:
    with transaction(database) as session:
        units.fail_unit(session, claim, reason=reason, message=f"{reason} it was", now=after(at))


def states(database: Database, job_id: str) -> list[str]:
    return [
        event.data["state"] for event in events_of(database, job_id) if event.type == "state" and event.data
    ]


def test_a_job_succeeds_with_one_model_and_one_last_event(database: Database) -> None:
    job_id = make_job(database, ready_dataset(database), suffix="portrait")
    while job_of(database, job_id).state is not JobState.succeeded:
        succeed(database, claim_next(database))
    job = job_of(database, job_id)
    with transaction(database) as session:
        made = session.scalars(select(Model).where(Model.kind == ModelKind.result)).one()
    assert made.id == job.result_model_id == f"ft:starter:portrait:{job_id[-10:]}"
    assert made.source.startswith("unit:")
    assert states(database, job_id) == ["validating_files", "queued", "running", "succeeded"]
    assert events_of(database, job_id)[-1].data == {"state": "succeeded"}
    assert nothing_to_claim(database)


@pytest.mark.parametrize("reason", ["internal", "worker_lost", "device_lost", "timeout"])
def test_what_may_pass_is_tried_three_times_each_later_and_then_parked(
    database: Database, reason: str
) -> None:
    job_id = make_job(database, ready_dataset(database))
    clock = 0.0
    for wait in (2.0, 8.0):
        fail(database, claim_next(database, now=after(clock)), reason, at=clock)
        assert nothing_to_claim(database, now=after(clock + wait - 0.1))
        clock += wait + 0.1
    fail(database, claim_next(database, now=after(clock)), reason, at=clock)
    job = job_of(database, job_id)
    encode = units_of(database, job_id)[0]
    assert (job.state, encode.state, encode.attempt) == (JobState.failed, UnitState.failed, 3)
    assert job.failure is not None
    assert [each["outcome"] for each in job.failure.pop("attempts")] == [reason] * 3
    assert job.failure == {
        "what_to_do": RULES[Reason(reason)].advice,
        "log": [],
        "reason": reason,
        "message": f"{reason} it was",
        "attempt": 3,
        "worker": "units-1",
        "unit": encode.id,
        "kind": "encode",
        "iteration": 0,
    }
    assert {unit.state for unit in units_of(database, job_id)[1:]} == {UnitState.cancelled}
    assert [
        event.data["state"] for event in events_of(database, job_id) if event.level == "error" and event.data
    ] == [
        "failed",
        "failed",
    ]


def test_a_users_mistake_fails_the_job_at_once_and_calls_off_what_runs(database: Database) -> None:
    job_id = make_job(database, ready_dataset(database))
    succeed(database, claim_next(database))
    other = claim_next(database, worker="units-2", kinds=(UnitKind.evaluate,))
    fail(database, claim_next(database), "user_error")
    assert job_of(database, job_id).state is JobState.failed
    with transaction(database) as session:
        assert wish(session, other) is Wish.lost
    assert {unit.state for unit in units_of(database, job_id)} == {
        UnitState.succeeded,
        UnitState.failed,
        UnitState.cancelled,
    }


def test_progress_forgives_failures(database: Database) -> None:
    """A unit that fails again and again, but a checkpoint further each time, is never given up."""
    job_id = make_job(database, ready_dataset(database))
    claim = run_until(database, UnitKind.train)
    for step in range(1, 6):
        with transaction(database) as session:
            records.record_checkpoint(session, claim, iteration=1, step=step, files=FILES)
        fail(database, claim, "worker_lost", at=step * 10.0)
        claim = claim_next(database, now=after(step * 10.0 + 3), kinds=(UnitKind.train,))
    assert claim.attempt == 6
    assert job_of(database, job_id).state is JobState.running


def test_an_evaluation_that_fails_does_not_cost_the_model(database: Database) -> None:
    job_id = make_job(database, ready_dataset(database))
    lost = run_until(database, UnitKind.evaluate, 1)
    fail(database, lost, "user_error")
    while job_of(database, job_id).state is JobState.running:
        succeed(database, claim_next(database))
    assert job_of(database, job_id).state is JobState.succeeded
    [warned] = [event for event in events_of(database, job_id) if event.level == "warn"]
    assert warned.message == (
        "evaluate 1: What was given cannot be used: user_error it was; the job goes on without these numbers."
    )
    assert warned.data is not None
    assert (warned.data["unit"], warned.data["state"]) == (lost.unit_id, "failed")
    with transaction(database) as session:
        job = jobs.get_job(session, project_id=PROJECT, job_id=job_id)
        details = views.describe_jobs(session, [job])[job_id]
    [told] = [unit for unit in details.attempts if unit["failure"] is not None]
    assert (told["unit"], told["kind"], told["iteration"], told["state"]) == (
        lost.unit_id,
        "evaluate",
        1,
        "failed",
    )
    assert told["failure"]["reason"] == "user_error"
    assert [each["evaluate"] for each in details.iterations] == ["succeeded", "failed", "succeeded"]
    levels = [event.level for event in events_of(database, job_id) if event.data and event.data.get("reason")]
    assert levels == ["warn"]


def test_preemption_costs_no_attempt(database: Database) -> None:
    job_id = make_job(database, ready_dataset(database))
    for fence in (1, 2, 3, 4, 5):
        claim = claim_next(database)
        assert (claim.fence, claim.attempt) == (fence, 1)
        with transaction(database) as session:
            units.release_unit(session, claim)
    encode = units_of(database, job_id)[0]
    assert (encode.state, encode.failures, encode.attempt) == (UnitState.pending, 0, 0)


def test_cancelling_a_job_that_waits_ends_it_at_once(database: Database) -> None:
    job_id = make_job(database, ready_dataset(database))
    with transaction(database) as session:
        job = control.cancel_job(session, project_id=PROJECT, job_id=job_id)
        assert job.state is JobState.cancelled
    assert {unit.state for unit in units_of(database, job_id)} == {UnitState.cancelled}
    before = snapshot(database)
    with transaction(database) as session:
        assert control.cancel_job(session, project_id=PROJECT, job_id=job_id).state is JobState.cancelled
    assert snapshot(database) == before
    assert nothing_to_claim(database)


def test_cancelling_a_job_that_runs_waits_for_its_unit(database: Database) -> None:
    job_id = make_job(database, ready_dataset(database))
    claim = claim_next(database)
    with transaction(database) as session:
        job = control.cancel_job(session, project_id=PROJECT, job_id=job_id)
    assert (job.state, job.cancel_requested) == (JobState.running, True)
    assert nothing_to_claim(database)
    with transaction(database) as session:
        units.release_unit(session, claim, cancelled=True)
    assert job_of(database, job_id).state is JobState.cancelled
    assert states(database, job_id)[-1] == "cancelled"


@pytest.mark.parametrize("ending", ["reaped", "failed", "succeeded"])
def test_a_cancelled_job_ends_however_its_unit_ends(database: Database, ending: str) -> None:
    job_id = make_job(database, ready_dataset(database))
    claim = claim_next(database)
    with transaction(database) as session:
        control.cancel_job(session, project_id=PROJECT, job_id=job_id)
    match ending:
        case "reaped":
            with transaction(database) as session:
                reaping.reap(session, now=after(31))
        case "failed":
            fail(database, claim, "internal")
        case "succeeded":
            succeed(database, claim)
    assert job_of(database, job_id).state is JobState.cancelled


def test_pause_takes_effect_when_the_unit_has_stopped_and_resume_goes_on(database: Database) -> None:
    job_id = make_job(database, ready_dataset(database))
    claim = claim_next(database)
    with transaction(database) as session:
        job = control.pause_job(session, project_id=PROJECT, job_id=job_id)
    assert (job.state, job.pause_requested) == (JobState.running, True)
    with transaction(database) as session:
        units.release_unit(session, claim)
    job = job_of(database, job_id)
    assert (job.state, job.pause_requested) == (JobState.paused, False)
    assert nothing_to_claim(database)
    with transaction(database) as session:
        assert control.resume_job(session, project_id=PROJECT, job_id=job_id).state is JobState.queued
    assert claim_next(database).unit_id == claim.unit_id
    assert states(database, job_id) == [
        "validating_files",
        "queued",
        "running",
        "paused",
        "queued",
        "running",
    ]


def test_resume_takes_back_a_pause_that_has_not_come(database: Database) -> None:
    job_id = make_job(database, ready_dataset(database))
    claim = claim_next(database)
    with transaction(database) as session:
        control.pause_job(session, project_id=PROJECT, job_id=job_id)
        job = control.resume_job(session, project_id=PROJECT, job_id=job_id)
        assert (job.state, job.pause_requested) == (JobState.running, False)
    with transaction(database) as session:
        assert wish(session, claim) is Wish.go_on


def test_wishes_that_make_no_sense_are_refused_and_change_nothing(database: Database) -> None:
    job_id = make_job(database, ready_dataset(database))
    before = snapshot(database)
    with pytest.raises(Conflict, match="is queued, not paused"), transaction(database) as session:
        control.resume_job(session, project_id=PROJECT, job_id=job_id)
    with pytest.raises(NotFound), transaction(database) as session:
        control.cancel_job(session, project_id="proj-2", job_id=job_id)
    assert snapshot(database) == before
    fail(database, claim_next(database), "user_error")
    before = snapshot(database)
    for wished in (control.cancel_job, control.pause_job, control.resume_job):
        with pytest.raises(Conflict), transaction(database) as session:
            wished(session, project_id=PROJECT, job_id=job_id)
    assert snapshot(database) == before


def test_a_job_waits_for_its_dataset_and_is_planned_when_that_is_ready(database: Database) -> None:
    with transaction(database) as session:
        ground(session)
    job_id = make_job(database, "file-1")
    assert (job_of(database, job_id).state, units_of(database, job_id)) == (JobState.validating_files, [])
    ingest = claim_next(database)
    assert ingest.kind is UnitKind.ingest
    from_ingest = {"rows": 200, "rejected": [], "statistics": {}, "sha256": "f", "shards": [], "pages": []}
    with transaction(database) as session:
        units.succeed_unit(session, ingest, output=from_ingest)
    assert job_of(database, job_id).state is JobState.queued
    assert sum(unit.kind is UnitKind.generate for unit in units_of(database, job_id)) == 8  # 2 iterations x 4


def test_a_job_fails_with_its_dataset(database: Database) -> None:
    with transaction(database) as session:
        ground(session)
    job_id = make_job(database, "file-1")
    fail(database, claim_next(database), "user_error")
    job = job_of(database, job_id)
    assert job.state is JobState.failed
    assert job.failure is not None
    assert job.failure["reason"] == "user_error"
    assert job.failure["message"].endswith("user_error it was")


def test_a_job_paused_while_its_dataset_is_validated_starts_on_resume(database: Database) -> None:
    with transaction(database) as session:
        ground(session)
    job_id = make_job(database, "file-1")
    with transaction(database) as session:
        assert control.pause_job(session, project_id=PROJECT, job_id=job_id).state is JobState.paused
    ingest = claim_next(database)
    assert ingest.dataset_id is not None
    with transaction(database) as session:
        datasets.complete_dataset(
            session,
            dataset_id=ingest.dataset_id,
            output={"rows": 9, "rejected": [], "statistics": {}, "sha256": "f", "shards": [], "pages": []},
        )
    assert job_of(database, job_id).state is JobState.paused
    with transaction(database) as session:
        assert control.resume_job(session, project_id=PROJECT, job_id=job_id).state is JobState.queued
    assert len(units_of(database, job_id)) == 9


def test_a_lost_ingest_is_tried_again(database: Database) -> None:
    with transaction(database) as session:
        ground(session)
        dataset = datasets.create_dataset(session, project_id=PROJECT, name="pictures", file_id="file-1")
    claim = claim_next(database)
    with transaction(database) as session:
        assert reaping.reap(session, now=after(31)) == 1
    again = claim_next(database, now=after(34))
    assert (again.unit_id, again.fence) == (claim.unit_id, 2)
    assert again.prefix == f"datasets/{dataset.id}/2"
    with transaction(database) as session:
        assert session.scalar(select(func.count()).select_from(Event)) == 0
        assert session.scalars(select(Unit.state)).one() is UnitState.running
