"""The place in the queue, and when a job may start."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import update

from core import workers
from core.clock import utcnow
from core.db import Database, transaction
from core.models import Job, JobState, UnitKind
from core.runs import views, waiting
from core.runs.capabilities import Capabilities
from core.runs.waiting import Queued, in_turn, starts_in
from tests.core.runs.making import job_of, make_job, ready_dataset


def queued(name: str, project: str, priority: int = 0) -> Queued:
    return Queued(name, project, priority, "default", 60.0)


def order(jobs: list[Queued], **running: int) -> list[str]:
    return [job.id for job in in_turn(jobs, running, {"b": 5.0, "a": 7.0})]


def test_projects_take_turns_within_a_priority() -> None:
    jobs = [queued(f"a{number}", "a") for number in range(3)] + [queued("b0", "b"), queued("b1", "b", 1)]
    assert order(jobs) == ["b1", "b0", "a0", "a1", "a2"]
    assert order(jobs, b=1) == ["b1", "a0", "b0", "a1", "a2"]
    assert order(jobs, b=9) == ["b1", "a0", "a1", "a2", "b0"]


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(-1, 1)), max_size=30),
    st.dictionaries(st.sampled_from("abc"), st.integers(0, 5)),
)
def test_every_job_has_one_place_and_none_is_passed_by_a_lower_or_younger_one(
    made: list[tuple[str, int]], running: dict[str, int]
) -> None:
    jobs = [queued(f"{number:03d}", project, priority) for number, (project, priority) in enumerate(made)]
    found = in_turn(jobs, running, {})
    assert sorted(job.id for job in found) == [job.id for job in jobs]
    assert [job.priority for job in found] == sorted((job.priority for job in jobs), reverse=True)
    for project in "abc":
        for priority in (-1, 0, 1):
            line = [job.id for job in found if (job.project_id, job.priority) == (project, priority)]
            assert line == sorted(line)


def test_the_start_is_known_when_all_that_is_ahead_is() -> None:
    assert starts_in([], 1) == 0
    assert starts_in([60.0, 30.0], 2) == 45.0
    assert starts_in([60.0, None], 2) is None
    assert starts_in([60.0], 0) is None


def test_a_description_tells_place_and_start(database: Database) -> None:
    dataset = ready_dataset(database)
    ids = [make_job(database, dataset) for _ in range(3)]
    other = make_job(database, dataset, queue="big")
    now = utcnow()
    with transaction(database) as session:
        workers.heartbeat(
            session, name="units-1", kind="units", kinds=tuple(UnitKind), has=Capabilities(("default",))
        )
        session.execute(update(Job).where(Job.id.in_(ids)).values(estimate={"seconds": 100.0}))
        started = {"state": JobState.running, "started_at": now - timedelta(seconds=40)}
        session.execute(update(Job).where(Job.id == ids[0]).values(**started))
    jobs = [job_of(database, each) for each in (*ids, other)]
    with transaction(database) as session:
        told = views.describe_jobs(session, jobs, now=now)
    assert [told[job.id].queue_position for job in jobs] == [None, 1, 2, 1]
    in_seconds = [told[job.id].starts_at for job in jobs]
    base = now.timestamp()
    assert in_seconds == [None, int(base + 60), int(base + 160), None]  # nobody serves the queue big


def test_a_place_beyond_those_that_are_looked_at_is_told_as_such(database: Database) -> None:
    dataset = ready_dataset(database)
    ids = [make_job(database, dataset) for _ in range(3)]
    jobs = [job_of(database, each) for each in ids]
    most, waiting.MOST = waiting.MOST, 2
    try:
        with transaction(database) as session:
            told = views.describe_jobs(session, jobs)
    finally:
        waiting.MOST = most
    assert [told[each].queue_position for each in ids] == [1, 2, 3]
