"""Limits of projects: what is reserved at submit is gone at every end, and nobody runs more than allowed."""

import threading
import time
from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from core import projects
from core.clock import utcnow
from core.db import Database, transaction
from core.errors import TooMany
from core.models import Attempt, Dataset, Device, File, Job, JobState, Project, Unit, UnitKind
from core.runs import claims, control, jobs, reaping, units
from core.runs.capabilities import Capabilities
from core.runs.claims import Claim
from tests.core.runs.making import (
    LEASE,
    PROJECT,
    START,
    after,
    claim_next,
    ground,
    job_of,
    make_job,
    ready_dataset,
    snapshot,
    succeed,
)

STEPS = 7.0  # of the tiny job, a second each


def project_of(database: Database, project_id: str = PROJECT) -> Project:
    with transaction(database) as session:
        return projects.get_project(session, project_id=project_id)


def limit(database: Database, **limits: float | None) -> None:
    with transaction(database) as session:
        projects.set_limits(session, project_id=PROJECT, limits=limits)


def account(database: Database) -> tuple[int, float, float]:
    project = project_of(database)
    return project.open_jobs, project.gpu_seconds_reserved, project.gpu_seconds_used


def test_a_gpu_job_reserves_what_it_is_thought_to_take(database: Database) -> None:
    dataset = ready_dataset(database)
    make_job(database, dataset)
    assert account(database) == (1, 0.0, 0.0)
    make_job(database, dataset, device=Device.gpu)
    assert account(database) == (2, STEPS, 0.0)


def test_a_job_over_the_limit_is_refused_and_nothing_is_made(database: Database) -> None:
    dataset = ready_dataset(database)
    limit(database, gpu_seconds_limit=2 * STEPS - 1)
    make_job(database, dataset, device=Device.gpu)
    before = snapshot(database)
    with pytest.raises(TooMany) as refused:
        make_job(database, dataset, device=Device.gpu)
    assert snapshot(database) == before
    assert (refused.value.status, refused.value.code) == (429, "gpu_seconds_exceeded")
    assert refused.value.message == (
        "the job is thought to take 7 GPU seconds; of the project's 13, 0 are used and 7 are "
        "reserved by open jobs"
    )


def test_open_jobs_have_a_limit(database: Database) -> None:
    dataset = ready_dataset(database)
    limit(database, max_jobs=1)
    job_id = make_job(database, dataset)
    before = snapshot(database)
    with pytest.raises(TooMany, match="has 1 open jobs and may have 1") as refused:
        make_job(database, dataset)
    assert (snapshot(database), refused.value.code) == (before, "too_many_jobs")
    with transaction(database) as session:
        control.cancel_job(session, project_id=PROJECT, job_id=job_id)
    make_job(database, dataset)


def test_submitters_at_once_do_not_pass_the_limit(database: Database) -> None:
    dataset = ready_dataset(database)
    limit(database, gpu_seconds_limit=3 * STEPS)
    refused: list[str | None] = []

    def submit() -> None:
        try:
            make_job(database, dataset, device=Device.gpu)
        except TooMany as error:
            refused.append(error.code)

    threads = [threading.Thread(target=submit) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refused == ["gpu_seconds_exceeded"] * 3
    assert account(database) == (3, 3 * STEPS, 0.0)


def cancelled_while_queued(database: Database, job_id: str) -> None:
    with transaction(database) as session:
        control.cancel_job(session, project_id=PROJECT, job_id=job_id)


def cancelled_while_running(database: Database, job_id: str) -> None:
    claim = claim_next(database)
    cancelled_while_queued(database, job_id)
    with transaction(database) as session:
        units.release_unit(session, claim, cancelled=True)


def cancelled_while_paused(database: Database, job_id: str) -> None:
    with transaction(database) as session:
        control.pause_job(session, project_id=PROJECT, job_id=job_id)
    assert account(database)[1] == STEPS  # a pause keeps its place
    cancelled_while_queued(database, job_id)


def failed(database: Database, _: str) -> None:
    with transaction(database) as session:
        units.fail_unit(session, claim_next(database), reason="user_error", message="no")


def parked_by_the_reaper(database: Database, _: str) -> None:
    for number in range(3):
        claim_next(database, now=after(number * 100.0))
        with transaction(database) as session:
            assert reaping.reap(session, now=after(number * 100.0 + 31)) == 1


def succeeded(database: Database, job_id: str) -> None:
    while job_of(database, job_id).finished_at is None:
        succeed(database, claim_next(database))


ENDS: dict[Callable[[Database, str], None], JobState] = {
    cancelled_while_queued: JobState.cancelled,
    cancelled_while_running: JobState.cancelled,
    cancelled_while_paused: JobState.cancelled,
    failed: JobState.failed,
    parked_by_the_reaper: JobState.failed,
    succeeded: JobState.succeeded,
}


@pytest.mark.parametrize("end", ENDS, ids=lambda end: str(end.__name__))
def test_every_end_gives_the_reservation_back(
    database: Database, end: Callable[[Database, str], None]
) -> None:
    job_id = make_job(database, ready_dataset(database), device=Device.gpu)
    assert account(database) == (1, STEPS, 0.0)
    end(database, job_id)
    assert job_of(database, job_id).state is ENDS[end]
    assert account(database) == (0, 0.0, 0.0)  # these workers have no GPU that counts
    assert job_of(database, job_id).reserved_gpu_seconds is None


def test_a_job_whose_dataset_fails_gives_it_back(database: Database) -> None:
    with transaction(database) as session:
        ground(session)
    make_job(database, "file-1", device=Device.gpu)
    assert account(database) == (1, STEPS, 0.0)
    failed(database, "")
    assert account(database) == (0, 0.0, 0.0)


def test_what_was_used_takes_the_place_of_what_was_reserved(database: Database) -> None:
    job_id = make_job(database, ready_dataset(database), device=Device.gpu)
    has = Capabilities(device=Device.gpu, gpus=2)
    with transaction(database) as session:
        claim = claims.claim_unit(session, worker="gpu", lease_seconds=LEASE, has=has, now=START)
    assert claim is not None
    began = time.monotonic()
    with transaction(database) as session:
        ago = utcnow() - timedelta(seconds=50)
        session.execute(update(Attempt).where(Attempt.unit_id == claim.unit_id).values(started_at=ago))
        control.cancel_job(session, project_id=PROJECT, job_id=job_id)
    with transaction(database) as session:
        units.release_unit(session, claim, cancelled=True)
    open_jobs, reserved, used = account(database)
    assert (open_jobs, reserved) == (0, 0.0)
    assert 100.0 <= used < 100.1 + 2 * (time.monotonic() - began)
    estimate = job_of(database, job_id).estimate
    assert estimate is not None
    assert estimate["actual"]["gpu_seconds"] == pytest.approx(used, abs=0.1)


def test_the_next_job_is_estimated_by_what_the_last_ones_took(database: Database) -> None:
    dataset = ready_dataset(database)
    first = make_job(database, dataset)
    succeeded(database, first)
    with transaction(database) as session:
        session.execute(update(Job).where(Job.id == first).values(estimate={"actual": {"seconds": 21.0}}))
    second = make_job(database, dataset, device=Device.gpu, hyperparameters={"steps": [10, 20]})
    assert job_of(database, second).reserved_gpu_seconds == 90.0
    assert job_of(database, second).estimate == {"seconds": 90.0}


def test_a_job_that_older_code_made_was_not_counted(database: Database) -> None:
    job_id = make_job(database, ready_dataset(database))
    with transaction(database) as session:
        session.execute(update(Job).values(reserved_gpu_seconds=None))
        session.execute(update(Project).values(open_jobs=0))
    cancelled_while_queued(database, job_id)
    assert account(database) == (0, 0.0, 0.0)


def claim(database: Database, worker: str = "w") -> Claim | None:
    with transaction(database) as session:
        return claims.claim_unit(session, worker=worker, lease_seconds=LEASE, now=START)


def test_claimers_at_once_do_not_pass_the_limit_of_running_units(database: Database) -> None:
    dataset = ready_dataset(database, rows=512)
    make_job(database, dataset)
    succeed(database, claim_next(database))
    limit(database, max_running=3)
    held: list[Claim] = []
    start = threading.Barrier(6)

    def work(name: str) -> None:
        start.wait()
        while (found := claim(database, name)) is not None:
            held.append(found)

    threads = [threading.Thread(target=work, args=(f"w{number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({each.unit_id for each in held}) == len(held) == 3
    succeed(database, held[0])
    assert claim(database) is not None
    assert claim(database) is None
    limit(database, max_running=None)
    assert claim(database) is not None


def second_project(database: Database, dataset_id: str) -> str:
    """Make another project with a ready dataset like that one; return the dataset's id."""
    with transaction(database) as session:
        session.add(Project(id="proj-2", name="two"))
        session.flush()
        file = session.get_one(File, "file-1")
        mine = {name: getattr(file, name) for name in ("filename", "purpose", "bytes", "sha256", "key")}
        session.add(File(id="file-2", project_id="proj-2", **mine))
        session.flush()
        there = session.get_one(Dataset, dataset_id)
        kept = {
            name: getattr(there, name) for name in ("name", "version", "state", "rows", "sha256", "shards")
        }
        session.add(Dataset(id="ds-2", project_id="proj-2", file_id="file-2", **kept))
    return "ds-2"


def submit_to(
    database: Database, project_id: str, dataset_id: str, *, resolution: int, priority: int = 0
) -> str:
    chosen = {"n_iterations": 1, "steps": 3, "learning_rate": 1e-4, "beta": 1.0, "resolution": resolution}
    with transaction(database) as session:
        return jobs.create_job(
            session,
            project_id=project_id,
            model="starter",
            training_file=dataset_id,
            method={"type": "spin", "spin": {"hyperparameters": chosen}},
            seed=1,
            priority=priority,
        ).id


def test_the_project_that_runs_least_and_then_was_served_least_goes_first(database: Database) -> None:
    dataset = ready_dataset(database)
    other = second_project(database, dataset)
    mine = [submit_to(database, PROJECT, dataset, resolution=64 * n) for n in range(1, 4)]
    theirs = [submit_to(database, "proj-2", other, resolution=64 * n) for n in range(1, 4)]
    # The first project read an archive before, which counts.
    assert [claim_next(database).job_id for _ in range(4)] == [theirs[0], mine[0], theirs[1], mine[1]]
    urgent = submit_to(database, PROJECT, dataset, resolution=512, priority=1)
    assert claim_next(database).job_id == urgent  # priority comes before fairness


def test_a_project_at_its_limit_lets_others_pass(database: Database) -> None:
    dataset = ready_dataset(database)
    other = second_project(database, dataset)
    limit(database, max_running=0)
    submit_to(database, PROJECT, dataset, resolution=64, priority=50)
    theirs = submit_to(database, "proj-2", other, resolution=64)
    assert claim_next(database).job_id == theirs


@pytest.mark.parametrize("ending", ["succeeded", "failed", "released", "called_off"])
def test_every_end_of_an_attempt_counts_as_service(database: Database, ending: str) -> None:
    dataset = ready_dataset(database)
    with transaction(database) as session:
        session.execute(update(Project).values(share=None))
    job_id = make_job(database, dataset)
    held = claim_next(database)
    match ending:
        case "succeeded":
            succeed(database, held)
        case "failed":
            with transaction(database) as session:
                units.fail_unit(session, held, reason="internal", message="boom")
        case "released":
            with transaction(database) as session:
                units.release_unit(session, held)
        case "called_off":
            succeed(database, held)
            called_off = claim_next(database, kinds=(UnitKind.evaluate,))
            with transaction(database) as session:
                session.execute(update(Project).values(share=None))
            failed(database, job_id)
            with transaction(database) as session:
                outcome = select(Attempt.outcome).where(Attempt.unit_id == called_off.unit_id)
                assert session.scalar(outcome) == "cancelled"
                assert session.get_one(Unit, called_off.unit_id).project_id == PROJECT
    assert project_of(database).share is not None


def test_limits_that_make_no_sense_are_refused(database: Database) -> None:
    ready_dataset(database)
    before = snapshot(database)
    with pytest.raises(ValueError, match="max_jobs must be 0 or more, not -1"):
        limit(database, max_jobs=-1)
    with pytest.raises(ValueError, match="max_fun is no limit"):
        limit(database, max_fun=1)
    assert snapshot(database) == before
