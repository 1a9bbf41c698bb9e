"""Rows of files, and when their bytes go."""

import io
from datetime import timedelta
from itertools import count

import pytest
from sqlalchemy import delete, update

from core import files, keys
from core.clock import utcnow
from core.db import Database, transaction
from core.errors import Conflict, NotFound
from core.models import Blob, Dataset, DatasetState, File, Project
from core.settings import Settings
from core.storage.store import ObjectStore, store_for
from tests.core.uploading import delete_file, upload_file

PROJECT = keys.DEFAULT_PROJECT
numbers = count(1)


@pytest.fixture
def folder(settings: Settings) -> ObjectStore:
    """The folder store of these settings."""
    return store_for(settings)


def upload(database: Database, store: ObjectStore, *, purpose: str = "fine-tune") -> File:
    """Upload bytes that no other file has."""
    return upload_file(database, store, f"bytes {next(numbers)}".encode(), purpose=purpose)


def use(database: Database, file: File, state: DatasetState) -> None:
    with transaction(database) as session:
        session.add(Dataset(id="ds-1", project_id=PROJECT, name="d", version=1, file_id=file.id, state=state))


def test_a_file_tells_what_was_stored(database: Database, folder: ObjectStore) -> None:
    file = upload_file(database, folder, b"bytes")
    with transaction(database) as session:
        found = files.get_file(session, project_id=PROJECT, file_id=file.id)
        assert (found.filename, found.bytes, found.purpose) == ("a.zip", 5, "fine-tune")
        assert found.sha256 == "277089d91c0bdf4f2e6862ba7e4a07605119431f5d13f726dd352b06f1b206a9"


def test_lists_by_purpose_and_age(database: Database, folder: ObjectStore) -> None:
    made = [upload(database, folder, purpose=each).id for each in ("fine-tune", "user_data", "fine-tune")]
    with transaction(database) as session:
        newest = files.list_files(session, project_id=PROJECT, limit=2)
        assert [file.id for file in newest.items] == [made[2], made[1]]
        assert newest.has_more
        oldest = files.list_files(session, project_id=PROJECT, after=made[0], limit=5, ascending=True)
        assert [file.id for file in oldest.items] == made[1:]
        tuned = files.list_files(session, project_id=PROJECT, purpose="fine-tune")
        assert [file.id for file in tuned.items] == [made[2], made[0]]


def test_a_deleted_file_is_gone_and_its_bytes_follow(database: Database, folder: ObjectStore) -> None:
    kept, deleted = upload(database, folder), upload(database, folder)
    use(database, deleted, DatasetState.ready)
    with transaction(database) as session:
        files.delete_file(session, project_id=PROJECT, file_id=deleted.id)
    with transaction(database) as session:
        with pytest.raises(NotFound):
            files.get_file(session, project_id=PROJECT, file_id=deleted.id)
        assert [file.id for file in files.list_files(session, project_id=PROJECT).items] == [kept.id]
    assert folder.exists(deleted.key)
    assert files.purge(database, folder) == 1
    assert files.purge(database, folder) == 0
    assert list(folder.list("")) == [kept.key]


def test_a_file_that_is_being_read_stays(database: Database, folder: ObjectStore) -> None:
    file = upload(database, folder)
    use(database, file, DatasetState.validating)
    with transaction(database) as session, pytest.raises(Conflict) as refused:
        files.delete_file(session, project_id=PROJECT, file_id=file.id)
    assert refused.value.code == "file_in_use"
    with transaction(database) as session:
        assert files.get_file(session, project_id=PROJECT, file_id=file.id).deleted_at is None


def test_another_projects_file_is_not_there(database: Database, folder: ObjectStore) -> None:
    file = upload(database, folder)
    with transaction(database) as session:
        session.add(Project(id="proj-other", name="other"))
    with transaction(database) as session:
        for attempt in (files.get_file, files.delete_file):
            with pytest.raises(NotFound):
                attempt(session, project_id="proj-other", file_id=file.id)
        assert files.list_files(session, project_id="proj-other").items == []
    assert files.purge(database, folder) == 0


def test_bytes_that_never_got_a_row_are_deleted_after_a_day(database: Database, folder: ObjectStore) -> None:
    kept, deleted = upload(database, folder), upload(database, folder)
    with transaction(database) as session:
        files.delete_file(session, project_id=PROJECT, file_id=deleted.id)
    folder.put(files.object_key(project_id=PROJECT, file_id="file-lost"), io.BytesIO(b"lost"), 4)
    folder.put("jobs/one", io.BytesIO(b"other"), 5)
    assert files.clear_lost(database, folder) == 0
    later = utcnow() + files.LOST_AFTER + timedelta(minutes=1)
    assert files.clear_lost(database, folder, now=later) == 1
    assert sorted(folder.list("")) == sorted([kept.key, deleted.key, "jobs/one"])


def test_a_file_is_deleted_by_itself_when_its_time_has_come(database: Database, folder: ObjectStore) -> None:
    hour = files.KEEP_SECONDS[0]
    kept, short = (upload_file(database, folder, each, keep_seconds=hour) for each in (b"kept", b"short"))
    upload_file(database, folder, b"for ever")
    use(database, kept, DatasetState.validating)
    assert short.expires_at == short.created_at + timedelta(seconds=hour)
    assert files.expire(database) == 0
    later = utcnow() + timedelta(seconds=hour + 1)
    assert files.expire(database, now=later) == 1
    assert files.expire(database, now=later) == 0
    with transaction(database) as session:
        left = files.list_files(session, project_id=PROJECT).items
        assert {file.id for file in left} == {kept.id} | {each.id for each in left if each.expires_at is None}
    assert len(left) == 2


def test_what_older_code_deleted_is_purged_and_a_twin_keeps_its_bytes(
    database: Database, folder: ObjectStore
) -> None:
    alone, one, other = (upload_file(database, folder, each) for each in (b"alone", b"twin", b"twin"))
    with transaction(database) as session:
        session.execute(delete(Blob).where(Blob.key == alone.key))
        for file in (alone, one):
            session.execute(update(File).where(File.id == file.id).values(deleted_at=utcnow()))
    assert files.purge(database, folder) == 1
    assert list(folder.list("")) == [other.key]
    delete_file(database, other)
    assert files.purge(database, folder) == 1
    assert list(folder.list("")) == []


@pytest.mark.parametrize(
    ("given", "name"), [("a.zip", "a.zip"), ("C:\\x\\ü b.zip ", "ü b.zip"), ("../..", "..")]
)
def test_a_name_is_kept_without_its_folders(given: str, name: str) -> None:
    assert files.plain_name(given) == name


@pytest.mark.parametrize("given", ["", "  ", "a/", "a\0b", "a\nb", "x" * 256])
def test_a_name_that_cannot_be_shown_is_refused(given: str) -> None:
    with pytest.raises(ValueError, match="file name"):
        files.plain_name(given)
