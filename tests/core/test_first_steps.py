"""What a new project still has to do."""

from core.audit import Act, record
from core.db import Database, transaction
from core.first_steps import AT_HOME, DRAWS, FirstSteps, first_steps
from core.keys import create_key
from tests.core.runs.making import PROJECT, ground, make_job, ready_dataset


def steps(database: Database) -> FirstSteps | None:
    with transaction(database) as session:
        return first_steps(session, project_id=PROJECT)


def test_each_step_is_done_for_good(database: Database) -> None:
    with transaction(database) as session:
        ground(session)
    assert steps(database) == FirstSteps(dataset=False, job=False, drawing=False)


def test_a_drawing_is_remembered_when_it_is_gone(database: Database) -> None:
    dataset = ready_dataset(database)
    assert steps(database) == FirstSteps(dataset=True, job=False, drawing=False)
    with transaction(database) as session:
        key, _ = create_key(session, project_id=PROJECT, name="k")
        record(session, Act(PROJECT, key.id, "POST", DRAWS, None, None))
    assert steps(database) == FirstSteps(dataset=True, job=False, drawing=True)
    make_job(database, dataset)
    assert steps(database) is None


def test_who_has_made_some_jobs_needs_no_hints(database: Database) -> None:
    dataset = ready_dataset(database)
    for _ in range(AT_HOME - 1):
        make_job(database, dataset)
    assert steps(database) == FirstSteps(dataset=True, job=True, drawing=False)
    make_job(database, dataset)
    assert steps(database) is None
