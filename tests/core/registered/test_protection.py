"""What a version names is neither deleted, thinned out nor forgotten, whoever is quicker."""

import threading
from collections.abc import Callable

import pytest
from sqlalchemy import select

from core import registry
from core.db import Database, transaction
from core.errors import AppError, Conflict, NotFound
from core.models import Checkpoint, Job, Model, Unit, UnitKind
from core.registered import versions
from core.runs import garbage, records
from core.runs.lifecycle import lock
from core.runs.retention import Retention, thin
from tests.core.runs.making import PROJECT, after, claim_next, make_job, ready_dataset, succeed
from tests.core.test_registry import SAVED, run_job

NAME = "portrait"


def register(database: Database, model: str) -> int:
    with transaction(database) as session:
        return versions.add_version(session, project_id=PROJECT, name=NAME, model=model, create=True).version


def result_of(database: Database, job_id: str) -> str:
    with transaction(database) as session:
        found = session.get_one(Job, job_id).result_model_id
        assert found is not None
        return found


def test_a_registered_result_is_not_deleted_until_its_version_is(database: Database) -> None:
    model = result_of(database, run_job(database, suffix="birds"))
    version = register(database, model)
    with transaction(database) as session:
        for name in (model, NAME, f"{NAME}@{version}"):
            with pytest.raises(Conflict, match=f"{model} is registered as {NAME}@1") as caught:
                registry.delete_model(session, project_id=PROJECT, model_id=name)
            assert caught.value.code == "model_registered"
        assert session.get_one(Model, model).deleted_at is None
        versions.delete_version(session, project_id=PROJECT, name=NAME, version=version)
        registry.delete_model(session, project_id=PROJECT, model_id=model)
        with pytest.raises(NotFound):
            versions.add_version(session, project_id=PROJECT, name=NAME, model=model)


def test_the_files_of_what_is_registered_are_not_forgotten(database: Database) -> None:
    """Also where the row says deleted: older code did not look for versions."""
    model = result_of(database, run_job(database, suffix="birds"))
    register(database, model)
    with transaction(database) as session:
        session.get_one(Model, model).deleted_at = after(0)
    with transaction(database) as session:
        assert garbage.forget_models(session) == 0
        unit_id = session.get_one(Model, model).source.removeprefix("unit:").partition("/")[0]
        assert any(
            file["path"].startswith("model/")
            for file in (session.get_one(Unit, unit_id).output or {})["files"]
        )
        versions.delete_version(session, project_id=PROJECT, name=NAME, version=1)
        assert garbage.forget_models(session) == 1


def saved(database: Database, count: int) -> tuple[str, list[str]]:
    """Return a job that trains, and its checkpoints, oldest first."""
    job_id = make_job(
        database,
        ready_dataset(database),
        hyperparameters={"steps": [100, 100]},
        retention=Retention(keep_last=1),
    )
    while (claim := claim_next(database)).kind is not UnitKind.train:
        succeed(database, claim)
    for step in range(count):
        with transaction(database) as session:
            records.record_checkpoint(
                session, claim, iteration=claim.iteration, step=step, files=SAVED, metrics={}
            )
    with transaction(database) as session:
        found = session.scalars(
            select(Checkpoint.id).where(Checkpoint.job_id == job_id).order_by(Checkpoint.step)
        )
        return job_id, list(found)


def kept(database: Database, job_id: str) -> list[str]:
    with transaction(database) as session:
        thin(session, lock(session, job_id))
        found = session.scalars(
            select(Checkpoint.id).where(Checkpoint.job_id == job_id).order_by(Checkpoint.step)
        )
        return list(found)


def test_a_registered_checkpoint_is_not_thinned_out(database: Database) -> None:
    job_id, found = saved(database, 4)
    register(database, found[0])
    assert kept(database, job_id) == [found[0], found[-1]]
    with transaction(database) as session:
        versions.delete_version(session, project_id=PROJECT, name=NAME, version=1)
    assert kept(database, job_id) == [found[-1]]


def at_once(*works: Callable[[], object]) -> list[str]:
    """Do things at the same moment; return what each came to, ``done`` or the code of its error."""
    start = threading.Barrier(len(works))
    outcomes = [""] * len(works)

    def run(number: int) -> None:
        start.wait()
        try:
            works[number]()
            outcomes[number] = "done"
        except AppError as error:
            outcomes[number] = str(error.code)

    threads = [threading.Thread(target=run, args=[number]) for number in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def test_either_it_is_registered_or_deleted_never_both(database: Database) -> None:
    model = result_of(database, run_job(database, suffix="birds"))

    def delete() -> None:
        with transaction(database) as session:
            registry.delete_model(session, project_id=PROJECT, model_id=model)

    for _ in range(10):
        outcomes = at_once(lambda: register(database, model), delete)
        with transaction(database) as session:
            deleted = session.get_one(Model, model).deleted_at is not None
            if deleted:
                assert outcomes == ["model_not_found", "done"]
                session.get_one(Model, model).deleted_at = None
            else:
                assert outcomes == ["done", "model_registered"]
                _, page = versions.list_versions(session, project_id=PROJECT, name=NAME, after=None, limit=1)
                number = page.items[0].version
                versions.delete_version(session, project_id=PROJECT, name=NAME, version=number)


def test_either_a_checkpoint_is_registered_or_thinned_out(database: Database) -> None:
    job_id, found = saved(database, 6)

    def thinning() -> None:
        with transaction(database) as session:
            thin(session, lock(session, job_id))

    outcomes = at_once(*(lambda each=each: register(database, each) for each in found[:4]), thinning)
    left = kept(database, job_id)
    assert left[-1] == found[-1]
    for each, outcome in zip(found[:4], outcomes, strict=False):
        assert outcome in ("done", "model_not_found")
        assert (each in left) == (outcome == "done")
