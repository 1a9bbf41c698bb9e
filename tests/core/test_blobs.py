"""Bytes are kept once, counted exactly, and never taken from a file that needs them."""

import random
import threading

import pytest
from sqlalchemy import select

from core import files, projects
from core.db import Database, transaction
from core.errors import AppError, Conflict, Invalid, NotFound, TooMany
from core.models import Blob, File, Project, Upload, UploadPart
from core.settings import Settings
from core.storage.store import ObjectStore, store_for
from core.uploads import leftovers, uploads
from tests.core.uploading import (
    PROJECT,
    account,
    add_part,
    begin,
    claim,
    content,
    delete_file,
    finish,
    upload_file,
)


@pytest.fixture
def folder(settings: Settings) -> ObjectStore:
    """The store of these settings."""
    return store_for(settings)


def limit(database: Database, size: int | None) -> None:
    with transaction(database) as session:
        projects.set_limits(session, project_id=PROJECT, limits={"max_bytes": size})


def test_twins_are_two_files_of_one_object_that_goes_with_the_last(
    database: Database, folder: ObjectStore
) -> None:
    one, two = (upload_file(database, folder, b"twins") for _ in range(2))
    assert one.id != two.id
    assert one.key == two.key
    assert list(folder.list("")) == [one.key]
    assert account(database) == (5, 5)
    delete_file(database, one)
    assert files.purge(database, folder) == 0
    assert content(database, folder, two) == b"twins"
    assert account(database) == (5, 5)
    delete_file(database, two)
    assert account(database) == (0, 0)
    assert files.purge(database, folder) == 1
    assert list(folder.list("")) == []


def test_another_project_keeps_its_own(database: Database, folder: ObjectStore) -> None:
    with transaction(database) as session:
        session.add(Project(id="proj-other", name="other"))
    mine = upload_file(database, folder, b"same")
    theirs = upload_file(database, folder, b"same", project_id="proj-other")
    delete_file(database, mine)
    files.purge(database, folder)
    assert content(database, folder, theirs) == b"same"
    assert account(database) == (0, 0)
    assert account(database, "proj-other") == (4, 4)


def test_a_twin_that_comes_before_the_purge_keeps_the_bytes(database: Database, folder: ObjectStore) -> None:
    first = upload_file(database, folder, b"twins")
    delete_file(database, first)
    second = upload_file(database, folder, b"twins")
    assert files.purge(database, folder) == 0
    assert content(database, folder, second) == b"twins"
    assert account(database) == (5, 5)


def test_a_twin_that_comes_during_the_purge_has_bytes_of_its_own(
    database: Database, folder: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = upload_file(database, folder, b"twins")
    delete_file(database, first)
    deleting = folder.delete
    second: list[File] = []

    def meanwhile(key: str) -> None:
        if not second:
            second.append(upload_file(database, folder, b"twins"))
        deleting(key)

    monkeypatch.setattr(folder, "delete", meanwhile)
    assert files.purge(database, folder) == 1
    assert content(database, folder, second[0]) == b"twins"
    assert account(database) == (5, 5)


def test_bytes_that_were_lost_come_back_for_all_their_files(database: Database, folder: ObjectStore) -> None:
    first = upload_file(database, folder, b"twins")
    folder.delete(first.key)
    second = upload_file(database, folder, b"twins")
    for file in (first, second):
        assert content(database, folder, file) == b"twins"
    assert len(list(folder.list(""))) == 1
    assert account(database) == (5, 5)


def test_a_limit_is_exact_and_what_is_refused_leaves_nothing(database: Database, folder: ObjectStore) -> None:
    limit(database, 10)
    upload_file(database, folder, b"12345678")
    for data in (b"123", b"abcdefghij"):
        with pytest.raises(TooMany) as refused:
            upload_file(database, folder, data)
        assert refused.value.code == "storage_exceeded"
    with pytest.raises(TooMany):
        begin(database, 3)
    assert account(database) == (8, 8)
    assert len(list(folder.list(""))) == 1
    upload_file(database, folder, b"12345678")  # a twin costs nothing
    last = upload_file(database, folder, b"ab")
    assert account(database) == (10, 10)
    delete_file(database, last)
    begin(database, 2)
    assert account(database) == (10, 10)
    limit(database, 1)  # what is stored stays
    with pytest.raises(TooMany):
        upload_file(database, folder, b"x")


def test_an_upload_that_was_granted_its_bytes_is_completed_also_under_a_lower_limit(
    database: Database, folder: ObjectStore
) -> None:
    upload = begin(database, 4)
    part = add_part(database, folder, upload, b"abcd")
    limit(database, 0)
    finish(database, folder, claim(database, upload, part))
    assert account(database) == (4, 4)


class History:
    """A random life of a project's files and uploads, over few contents, so that twins are common.

    Contents are one byte again and again, so that one part makes any of them.
    """

    def __init__(self, database: Database, store: ObjectStore, seed: int) -> None:
        self.database, self.store = database, store
        self.chance = random.Random(seed)
        self.refused = 0
        self.files: dict[str, tuple[File, bytes]] = {}
        self.uploads: list[tuple[Upload, bytes, list[UploadPart]]] = []

    def step(self) -> None:
        """Do one thing, which may be refused."""
        moves = (
            self._upload,
            self._upload,
            self._delete,
            self._purge,
            self._begin,
            self._part,
            self._complete,
            self._end,
        )
        try:
            self.chance.choice(moves)()
        except (Conflict, Invalid, NotFound, TooMany):
            self.refused += 1

    def _data(self) -> bytes:
        return bytes([self.chance.randrange(4)]) * self.chance.randrange(1, 4)

    def _upload(self) -> None:
        data = self._data()
        file = upload_file(self.database, self.store, data)
        self.files[file.id] = (file, data)

    def _delete(self) -> None:
        if self.files:
            file, _ = self.files.pop(self.chance.choice(list(self.files)))
            delete_file(self.database, file)

    def _purge(self) -> None:
        files.purge(self.database, self.store)
        leftovers.clear(self.database, self.store)

    def _begin(self) -> None:
        data = self._data()
        self.uploads.append((begin(self.database, len(data)), data, []))

    def _part(self) -> None:
        if self.uploads:
            upload, data, parts = self.chance.choice(self.uploads)
            parts.append(add_part(self.database, self.store, upload, data[:1]))

    def _complete(self) -> None:
        if self.uploads:
            upload, data, parts = self.chance.choice(self.uploads)
            mine = claim(self.database, upload, *parts[:1] * len(data))
            file = finish(self.database, self.store, mine)
            self.files[file.id] = (file, data)

    def _end(self) -> None:
        if self.uploads:
            upload, _, _ = self.uploads.pop(self.chance.randrange(len(self.uploads)))
            with transaction(self.database) as session:
                uploads.cancel_upload(session, project_id=PROJECT, upload_id=upload.id)

    def check(self) -> None:
        """Hold the account and every file's bytes against what happened."""
        said, real = account(self.database)
        assert said == real
        for file, data in self.files.values():
            assert content(self.database, self.store, file) == data


def test_the_account_is_exact_and_no_file_loses_its_bytes_whatever_happens(
    database: Database, folder: ObjectStore
) -> None:
    limit(database, 30)
    history = History(database, folder, seed=7)
    for _ in range(5):
        for _ in range(16):
            history.step()
        history.check()
    assert len(history.files) > 3
    assert 0 < history.refused < 40


def test_threads_that_upload_delete_and_purge_the_same_bytes_at_once(
    database: Database, folder: ObjectStore
) -> None:
    failed: list[BaseException] = []

    def live(seed: int) -> None:
        try:
            history = History(database, folder, seed)
            for _ in range(12):
                history.chance.choice((history._upload, history._delete, history._purge))()
            for file, data in history.files.values():
                assert content(database, folder, file) == data
        except (AppError, AssertionError, OSError) as error:
            failed.append(error)

    threads = [threading.Thread(target=live, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    said, real = account(database)
    assert said == real
    files.purge(database, folder)
    with transaction(database) as session:
        assert sorted(folder.list("")) == sorted(session.scalars(select(Blob.key)))
