"""Datasets on both databases: versions, the life of a validation, rows, and the jobs that wait."""

import dataclasses
import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from core import datasets, intake
from core.db import Database, transaction
from core.errors import Conflict, Invalid, NotFound, StaleFence
from core.ingest.dataset import ingest
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
from core.runs import units
from core.runs.claims import Claim
from core.settings import Settings
from core.storage.folder import FolderStore
from tests.core.archives import jsonl, picture, write_zip
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


def upload(store: FolderStore, folder: Path, prefix: str) -> list[dict[str, Any]]:
    files = []
    for path in sorted(folder.iterdir()):
        key = f"{prefix}/{path.name}"
        stored = store.put_file(key, path)
        files.append({"path": path.name, "key": key, "sha256": stored.sha256, "size": stored.size})
    return files


def test_from_an_archive_to_rows(database: Database, settings: Settings, made: str, tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "objects", public_url=settings.public_url, secret=b"s" * 32)
    pictures = {f"{number:03d}.png": picture("red", (4 + number % 3, 4)) for number in range(230)}
    table = jsonl(*((name, f"caption {name}") for name in pictures), ("none.png", "missing"))
    archive = write_zip(tmp_path / "a.zip", pictures | {"metadata.jsonl": table})
    claim = claim_next(database)
    with transaction(database) as session:
        work = intake.intake(session, claim)
    assert (work.file.path, work.file.key, work.file.sha256, work.file.size) == (
        "pictures.zip",
        "k/file",
        "c" * 64,
        9,
    )
    assert work.limits == intake.limits_of(settings)
    found = ingest(archive, tmp_path / "out", limits=work.limits)
    files = upload(store, tmp_path / "out", claim.prefix)
    with transaction(database) as session:
        intake.accept(session, claim, found=found.as_json(), files=files)

    dataset = state_of(database, made)
    assert (dataset.state, dataset.rows, dataset.sha256) == (DatasetState.ready, 230, found.sha256)
    assert dataset.rejected == [{"file": "none.png", "row": 231, "reason": "no such file in the archive"}]
    assert dataset.shards == [file for file in files if file["path"].startswith("shard")]
    assert [page["path"] for page in dataset.pages or []] == [f"page-0000{n}.json" for n in range(3)]

    page = datasets.rows(store, dataset, after=None, limit=2)
    assert ([(row.index, row.text) for row in page.items], page.has_more) == (
        [(0, "caption 000.png"), (1, "caption 001.png")],
        True,
    )
    page = datasets.rows(store, dataset, after=97, limit=100)
    assert ([row.index for row in page.items], page.has_more) == (list(range(98, 198)), True)
    page = datasets.rows(store, dataset, after=197, limit=100)
    assert ([row.index for row in page.items], page.has_more) == (list(range(198, 230)), False)
    page = datasets.rows(store, dataset, after=229, limit=100)
    assert (list(page.items), page.has_more) == ([], False)
    page = datasets.rows(store, dataset, after=10**9, limit=100)
    assert (list(page.items), page.has_more) == ([], False)


def test_rows_of_a_dataset_that_is_not_ready(database: Database, made: str, tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "objects", public_url="http://x", secret=b"s" * 32)
    with pytest.raises(Conflict, match="is validating: it has rows when it is ready"):
        datasets.rows(store, state_of(database, made), after=None, limit=1)


def test_a_refused_archive_fails_the_dataset_and_its_jobs(database: Database, made: str) -> None:
    job_id = make_job(database, made)
    claim = claim_next(database)
    rejected = [{"file": "a.png", "row": 1, "reason": "not a PNG"}]
    with transaction(database) as session:
        intake.refuse(session, claim, message="no row can be used", rejected=rejected)
    dataset = state_of(database, made)
    assert (dataset.state, dataset.rejected) == (DatasetState.failed, rejected)
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
