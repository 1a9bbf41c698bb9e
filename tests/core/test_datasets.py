"""Datasets on both databases: versions, the life of a validation, rows, and the jobs that wait."""

import dataclasses
import threading
from typing import Any

import pytest
from sqlalchemy import func, select

from core import datasets, files, intake
from core.db import Database, transaction
from core.errors import Conflict, Invalid, NotFound, StaleFence
from core.ingest.options import Options, Split
from core.models import (
    Dataset,
    DatasetState,
    File,
    Job,
    JobState,
    Outbox,
    Project,
    Reason,
    Unit,
    UnitKind,
    UnitState,
)
from core.queue import RUN_UNIT
from core.runs import records, units
from core.runs.claims import Claim
from core.runs.leftovers import told_of
from core.settings import Settings
from tests.core.runs.making import PROJECT, after, claim_next, ground, ingested, make_job


@pytest.fixture
def made(database: Database) -> str:
    """A dataset that is being validated; its id."""
    with transaction(database) as session:
        ground(session)
        return datasets.create_dataset(session, project_id=PROJECT, name="birds", file_id="file-1").id


def state_of(database: Database, dataset_id: str) -> Dataset:
    with transaction(database) as session:
        return datasets.get_dataset(session, project_id=PROJECT, dataset_id=dataset_id)


def test_a_new_dataset_is_validating_and_owes_a_doorbell(database: Database, made: str) -> None:
    with transaction(database) as session:
        dataset = session.get_one(Dataset, made)
        assert (dataset.name, dataset.version, dataset.state) == ("birds", 1, DatasetState.validating)
        unit = session.scalars(select(Unit)).one()
        assert (unit.kind, unit.state, unit.dataset_id) == (UnitKind.ingest, UnitState.pending, made)
        assert session.scalars(
            select(Outbox.payload).where(Outbox.task == RUN_UNIT[UnitKind.ingest])
        ).all() == [unit.id]


@pytest.mark.usefixtures("made")
def test_versions_count_by_name_and_project(database: Database) -> None:
    with transaction(database) as session:
        session.add(Project(id="proj-2", name="two"))
        session.flush()
        session.add(
            File(
                id="file-2",
                project_id="proj-2",
                filename="x",
                purpose="fine-tune",
                bytes=1,
                sha256="",
                key="k",
            )
        )
        session.flush()

        def version(project: str, name: str, file: str) -> int:
            return datasets.create_dataset(session, project_id=project, name=name, file_id=file).version

        assert version(PROJECT, "birds", "file-1") == 2
        assert version(PROJECT, "cats", "file-1") == 1
        assert version("proj-2", "birds", "file-2") == 1


@pytest.mark.usefixtures("made")
def test_makers_at_the_same_moment_get_different_versions(database: Database) -> None:
    start = threading.Barrier(4)

    def make() -> None:
        start.wait()
        with transaction(database) as session:
            datasets.create_dataset(session, project_id=PROJECT, name="birds", file_id="file-1")

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with transaction(database) as session:
        assert sorted(session.scalars(select(Dataset.version))) == [1, 2, 3, 4, 5]


@pytest.mark.usefixtures("made")
def test_a_file_that_is_not_there_makes_nothing(database: Database) -> None:
    with (
        pytest.raises(Invalid, match="there is no file file-9: upload it first") as caught,
        transaction(database) as session,
    ):
        datasets.create_dataset(session, project_id=PROJECT, name="birds", file_id="file-9")
    assert caught.value.param == "file"
    with transaction(database) as session:
        assert session.scalar(select(func.count(Dataset.id))) == 1


def test_another_projects_dataset_does_not_exist(database: Database, made: str) -> None:
    with transaction(database) as session, pytest.raises(NotFound):
        datasets.get_dataset(session, project_id="proj-default", dataset_id=made)
    with transaction(database) as session:
        assert (
            list(datasets.list_datasets(session, project_id="proj-default", after=None, limit=5).items) == []
        )


def test_pages_of_datasets(database: Database, made: str) -> None:
    with transaction(database) as session:
        later = [
            datasets.create_dataset(session, project_id=PROJECT, name="birds", file_id="file-1").id
            for _ in range(2)
        ]
        first = datasets.list_datasets(session, project_id=PROJECT, after=None, limit=2)
        assert ([one.id for one in first.items], first.has_more) == ([later[1], later[0]], True)
        second = datasets.list_datasets(session, project_id=PROJECT, after=later[0], limit=2)
        assert ([one.id for one in second.items], second.has_more) == ([made], False)
        with pytest.raises(Invalid):
            datasets.list_datasets(session, project_id=PROJECT, after="ds-unknown", limit=2)


def test_a_refused_archive_fails_the_dataset_and_its_jobs(database: Database, made: str) -> None:
    job_id = make_job(database, made)
    claim = claim_next(database)
    rejected = [{"file": "a.png", "row": 1, "reason": "not a PNG"}]
    with transaction(database) as session:
        intake.refuse(session, claim, message="no row can be used", rejected=rejected)
    dataset = state_of(database, made)
    assert (dataset.state, dataset.rejected, dataset.rejections) == (DatasetState.failed, rejected, [])
    assert dataset.failure == {"reason": "user_error", "message": "no row can be used"}
    with transaction(database) as session:
        job = session.get_one(Job, job_id)
        assert job.state is JobState.failed
        assert job.failure is not None
        assert job.failure["reason"] == "user_error"
        assert "no row can be used" in job.failure["message"]


def test_a_job_waits_until_both_its_datasets_are_ready(database: Database, made: str) -> None:
    with transaction(database) as session:
        other = datasets.create_dataset(session, project_id=PROJECT, name="held out", file_id="file-1").id
    job_id = make_job(database, made, validation_file=other)

    def state() -> JobState:
        with transaction(database) as session:
            return session.get_one(Job, job_id).state

    assert state() is JobState.validating_files
    for expected in (JobState.validating_files, JobState.queued):
        claim = claim_next(database, kinds=(UnitKind.ingest,))
        with transaction(database) as session:
            units.succeed_unit(session, claim, output=ingested())
        assert state() is expected


def test_a_stale_claim_writes_nothing(database: Database, made: str) -> None:
    claim = claim_next(database)
    stale = dataclasses.replace(claim, fence=claim.fence - 1)

    def try_all(late: Claim) -> None:
        found = ingested() | {"shards": [], "pages": []}
        with pytest.raises(StaleFence), transaction(database) as session:
            intake.accept(session, late, found=found, files=[])
        with pytest.raises(StaleFence), transaction(database) as session:
            intake.refuse(session, late, message="late", rejected=[{"file": "x", "row": 1, "reason": "y"}])

    try_all(stale)
    dataset = state_of(database, made)
    assert (dataset.state, dataset.rejected, dataset.failure) == (DatasetState.validating, None, None)
    with transaction(database) as session:
        intake.accept(session, claim, found=ingested() | {"shards": [], "pages": []}, files=[])
    try_all(claim)
    assert state_of(database, made).state is DatasetState.ready


def test_a_validation_that_loses_its_workers_fails_in_the_end(
    database: Database, settings: Settings, made: str
) -> None:
    for number in range(settings.max_attempts):
        claim = claim_next(database, now=after(1000.0 * number))
        with transaction(database) as session:
            units.fail_unit(
                session, claim, reason=Reason.internal, message="broke", now=after(1000.0 * number)
            )
    dataset = state_of(database, made)
    assert dataset.state is DatasetState.failed
    assert dataset.failure == {"reason": "internal", "message": "broke"}


def test_a_file_given_to_a_job_becomes_one_dataset(database: Database) -> None:
    with transaction(database) as session:
        ground(session)
        first = datasets.dataset_for_training(
            session, project_id=PROJECT, given="file-1", param="training_file"
        )
        again = datasets.dataset_for_training(
            session, project_id=PROJECT, given="file-1", param="training_file"
        )
        named = datasets.dataset_for_training(
            session, project_id=PROJECT, given=first.id, param="training_file"
        )
    assert first.id == again.id == named.id
    assert (first.name, first.version) == ("pictures", 1)


def test_a_file_whose_dataset_failed_is_validated_anew(database: Database, made: str) -> None:
    with transaction(database) as session:
        datasets.fail_dataset(session, dataset_id=made, reason="internal", message="broke")
        fresh = datasets.dataset_for_training(
            session, project_id=PROJECT, given="file-1", param="training_file"
        )
    assert fresh.id != made
    assert fresh.state is DatasetState.validating


def test_neither_dataset_nor_file(database: Database, made: str) -> None:
    for project, given in ((PROJECT, "ds-none"), (PROJECT, "file-none"), ("proj-default", made)):
        with transaction(database) as session, pytest.raises(NotFound) as caught:
            datasets.dataset_for_training(session, project_id=project, given=given, param="validation_file")
        assert caught.value.message == f"validation_file: there is no dataset and no file {given}"
        assert caught.value.param == "validation_file"


def test_names_of_datasets_from_files() -> None:
    for filename, name in {
        "../my set (1).tar.gz": "my set -1-",
        "C:\\pics\\Vögel.zip": "V-gel",
        ".zip": "dataset",
    }.items():
        assert datasets._name_of(File(filename=filename)) == name


@pytest.fixture
def split(database: Database) -> tuple[str, str]:
    """The two parts of a file that is being validated; their ids."""
    with transaction(database) as session:
        ground(session)
        options = Options(tolerance=0.5, split=Split(0.1, by="caption", seed=7))
        training = datasets.create_dataset(
            session, project_id=PROJECT, name="birds", file_id="file-1", options=options
        )
        assert training.sibling_id is not None
        return training.id, training.sibling_id


def test_a_split_makes_two_datasets_and_one_unit(database: Database, split: tuple[str, str]) -> None:
    training, validation = (state_of(database, each) for each in split)
    assert (training.name, training.version, training.part) == ("birds", 1, "training")
    assert (validation.name, validation.version, validation.part) == ("birds.validation", 1, "validation")
    assert (training.sibling_id, validation.sibling_id) == (validation.id, training.id)
    assert training.options == validation.options
    with transaction(database) as session:
        assert session.scalars(select(Unit.dataset_id)).all() == [training.id]
    claim = claim_next(database)
    with transaction(database) as session:
        asked = intake.intake(session, claim).options
    assert asked == Options(tolerance=0.5, split=Split(0.1, by="caption", seed=7))


def test_a_split_is_ready_at_once_and_a_job_on_both_starts(
    database: Database, split: tuple[str, str]
) -> None:
    training, validation = split
    job_id = make_job(database, training, validation_file=validation)
    claim = claim_next(database)
    shard = {"path": "training/shard-00000.tar", "key": "k/t", "sha256": "e" * 64, "size": 5}
    held_out = shard | {"path": "validation/shard-00000.tar", "key": "k/v"}
    one = ingested(9) | {"shards": ["shard-00000.tar"]}
    found = one | {"held_out": ingested(1) | {"shards": ["shard-00000.tar"]}}
    with transaction(database) as session:
        intake.accept(session, claim, found=found, files=[shard, held_out])
    parts = [state_of(database, each) for each in split]
    assert [(part.state, part.rows) for part in parts] == [(DatasetState.ready, 9), (DatasetState.ready, 1)]
    assert [[(file["path"], file["key"]) for file in part.shards or []] for part in parts] == [
        [("shard-00000.tar", "k/t")],
        [("shard-00000.tar", "k/v")],
    ]
    with transaction(database) as session:
        assert session.get_one(Job, job_id).state is JobState.queued
        assert told_of(session, session.get_one(Unit, claim.unit_id)) == {"k/t", "k/v"}


def test_a_split_fails_as_one(database: Database, split: tuple[str, str]) -> None:
    training, validation = split
    job_id = make_job(database, training, validation_file=validation)
    claim = claim_next(database)
    with transaction(database) as session:
        intake.refuse(session, claim, message="no row can be used", rejected=[])
    assert {state_of(database, each).state for each in split} == {DatasetState.failed}
    with transaction(database) as session:
        assert session.get_one(Job, job_id).state is JobState.failed


def test_a_file_given_to_a_job_means_all_of_it_not_a_part(database: Database, split: tuple[str, str]) -> None:
    with transaction(database) as session:
        whole = datasets.dataset_for_training(
            session, project_id=PROJECT, given="file-1", param="training_file"
        )
    assert whole.id not in split
    assert whole.part is None


def test_a_file_of_a_split_cannot_be_deleted_while_it_is_read(
    database: Database, split: tuple[str, str]
) -> None:
    with (
        transaction(database) as session,
        pytest.raises(Conflict, match="a dataset or a model is being made from file-1"),
    ):
        files.delete_file(session, project_id=PROJECT, file_id="file-1")
    assert len(split) == 2


def test_progress_is_told_of_what_is_being_validated(database: Database, split: tuple[str, str]) -> None:
    def told() -> dict[str, Any]:
        with transaction(database) as session:
            known = [datasets.get_dataset(session, project_id=PROJECT, dataset_id=each) for each in split]
            return datasets.progress_of(session, known)

    assert told() == {}
    claim = claim_next(database)
    assert told() == {}
    line = {"type": "progress", "step": 3, "of": 9, "what": "ingest"}
    with transaction(database) as session:
        records.record_events(session, claim, [line])
    progress = {"step": 3, "of": 9, "what": "ingest"}
    assert told() == dict.fromkeys(split, progress)
    with transaction(database) as session:
        units.fail_unit(session, claim, reason=Reason.user_error, message="no")
    assert told() == {}
