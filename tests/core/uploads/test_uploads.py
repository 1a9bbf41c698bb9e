"""Uploads from their beginning to their end: once, by one process, with nothing left behind."""

import hashlib
import io
from datetime import datetime, timedelta

import pytest

from core import files
from core.clock import utcnow
from core.db import Database, transaction
from core.errors import Conflict, Invalid, NotFound, TooLarge
from core.models import Project, Upload, UploadPart, UploadState
from core.settings import Settings
from core.storage.store import ObjectStore, store_for
from core.uploads import assembly, leftovers, pieces, uploads
from tests.core.uploading import (
    PROJECT,
    account,
    add_part,
    begin,
    begin_direct,
    claim,
    content,
    delete_file,
    finish,
    put,
    sha256,
    soon,
    upload_file,
)

LATER = timedelta(seconds=uploads.LIFE_SECONDS + 1)


@pytest.fixture
def folder(settings: Settings) -> ObjectStore:
    """The store of these settings."""
    return store_for(settings)


def state(database: Database, upload: Upload) -> UploadState:
    with transaction(database) as session:
        return uploads.get_upload(session, project_id=PROJECT, upload_id=upload.id).state


def cancel(database: Database, upload: Upload) -> None:
    with transaction(database) as session:
        uploads.cancel_upload(session, project_id=PROJECT, upload_id=upload.id)


def test_parts_become_a_file_in_the_order_that_is_told(database: Database, folder: ObjectStore) -> None:
    upload = begin(database, 9, sha256=sha256(b"abcdefghi"))
    last, first = (add_part(database, folder, upload, data) for data in (b"fghi", b"abcde"))
    file = finish(database, folder, claim(database, upload, first, last))
    assert content(database, folder, file) == b"abcdefghi"
    assert (file.bytes, file.sha256, file.filename) == (9, sha256(b"abcdefghi"), "a.zip")
    assert state(database, upload) is UploadState.completed
    assert leftovers.clear(database, folder) == 1
    assert leftovers.clear(database, folder) == 0
    assert list(folder.list("")) == [file.key]
    assert account(database) == (9, 9)


def test_a_part_that_is_sent_again_is_the_same_part(database: Database, folder: ObjectStore) -> None:
    upload = begin(database, 6)
    one, again, other = (add_part(database, folder, upload, data) for data in (b"ab", b"ab", b"cd"))
    assert one.id == again.id
    assert len(list(folder.list("uploads/"))) == 2
    file = finish(database, folder, claim(database, upload, one, other, one))
    assert content(database, folder, file) == b"abcdab"


def test_an_upload_of_known_bytes_shares_them_and_frees_what_it_held(
    database: Database, folder: ObjectStore
) -> None:
    known = upload_file(database, folder, b"abcd")
    upload = begin(database, 4)
    part = add_part(database, folder, upload, b"abcd")
    assert account(database) == (8, 8)
    file = finish(database, folder, claim(database, upload, part))
    assert file.key == known.key
    assert account(database) == (4, 4)
    assert list(folder.list("files/")) == [known.key]


def test_the_bytes_of_parts_are_at_most_those_announced(database: Database, folder: ObjectStore) -> None:
    upload = begin(database, 4)
    add_part(database, folder, upload, b"abc")
    with pytest.raises(Invalid) as refused:
        add_part(database, folder, upload, b"de")
    assert refused.value.code == "too_many_bytes"
    assert len(list(folder.list(""))) == 1
    add_part(database, folder, upload, b"d")


def test_no_upload_is_larger_than_a_file_may_be(database: Database, settings: Settings) -> None:
    with pytest.raises(TooLarge):
        begin(database, settings.max_file_bytes + 1)
    assert account(database) == (0, 0)


def test_what_does_not_make_the_file_is_refused_and_can_be_mended(
    database: Database, folder: ObjectStore
) -> None:
    upload = begin(database, 4)
    parts = [add_part(database, folder, upload, data) for data in (b"ab", b"cd")]
    right = {"md5": hashlib.md5(b"abcd").hexdigest(), "sha256": sha256(b"abcd")}  # noqa: S324  as OpenAI's clients
    cases: list[tuple[list[UploadPart], dict[str, str], str]] = [
        (parts[:1], {}, "wrong_size"),
        ([*parts, parts[0]], {}, "wrong_size"),
        (parts, {"sha256": "0" * 64}, "sha256_mismatch"),
        (parts[::-1], {"sha256": right["sha256"]}, "sha256_mismatch"),
        (parts, {"md5": "0" * 32}, "md5_mismatch"),
    ]
    for chosen, told, code in cases:
        with pytest.raises(Invalid) as refused:
            finish(database, folder, claim(database, upload, *chosen, **told))
        assert refused.value.code == code
        assert state(database, upload) is UploadState.pending
        assert list(folder.list("files/")) == []
        assert account(database) == (4, 4)
    file = finish(database, folder, claim(database, upload, *parts, **right))
    assert content(database, folder, file) == b"abcd"


def test_another_uploads_part_is_no_part(database: Database, folder: ObjectStore) -> None:
    mine, other = begin(database, 1), begin(database, 1)
    theirs = add_part(database, folder, other, b"x")
    with pytest.raises(Invalid) as refused:
        claim(database, mine, theirs)
    assert refused.value.code == "part_not_found"
    assert state(database, mine) is UploadState.pending


def test_one_process_completes_and_another_may_when_it_is_silent(
    database: Database, folder: ObjectStore
) -> None:
    upload = begin(database, 2)
    part = add_part(database, folder, upload, b"ab")
    lost = claim(database, upload, part)
    for refused_now in (
        lambda: claim(database, upload, part),
        lambda: add_part(database, folder, upload, b"c"),
    ):
        with pytest.raises(Conflict) as refused:
            refused_now()
        assert refused.value.code == "upload_completing"
    taken = claim(database, upload, part, now=soon())
    assert taken.fence == lost.fence + 1
    file = finish(database, folder, taken)
    with pytest.raises(Conflict) as late:
        finish(database, folder, lost)
    assert late.value.code == "upload_lost"
    assert content(database, folder, file) == b"ab"
    assert list(folder.list("files/")) == [file.key]
    assert account(database) == (2, 2)


def test_a_process_that_dies_before_the_row_leaves_an_object_that_is_swept(
    database: Database, folder: ObjectStore
) -> None:
    upload = begin(database, 2)
    part = add_part(database, folder, upload, b"ab")
    dead = claim(database, upload, part)
    folder.put(dead.key, io.BytesIO(b"ab"), 2)
    file = finish(database, folder, claim(database, upload, part, now=soon()))
    later = utcnow() + files.LOST_AFTER + timedelta(minutes=1)
    assert files.clear_lost(database, folder, now=later) == 1
    assert list(folder.list("files/")) == [file.key]


def test_the_lease_is_renewed_while_the_parts_are_read(database: Database, folder: ObjectStore) -> None:
    upload = begin(database, 3)
    parts = [add_part(database, folder, upload, data) for data in (b"a", b"b", b"c")]
    mine = claim(database, upload, *parts)
    ticks = iter(range(0, 10_000, 11))
    renewed: list[datetime] = []

    def clock() -> float:
        with transaction(database) as session:
            lease = uploads.get_upload(session, project_id=PROJECT, upload_id=upload.id).lease_expires_at
            assert lease is not None
            renewed.append(lease)
        return float(next(ticks))

    finish(database, folder, mine, clock=clock)
    assert renewed == sorted(renewed)
    assert len(set(renewed)) > 2


@pytest.mark.parametrize("when", ["before it is read", "while it is read"])
def test_a_cancelled_upload_is_not_completed(database: Database, folder: ObjectStore, when: str) -> None:
    upload = begin(database, 2)
    part = add_part(database, folder, upload, b"ab")
    mine = claim(database, upload, part)
    ticks = iter(range(0, 10_000, 11))

    def clock() -> float:
        if when == "while it is read":
            cancel(database, upload)
        return float(next(ticks))

    if when == "before it is read":
        cancel(database, upload)
    with pytest.raises(Conflict) as refused:
        finish(database, folder, mine, clock=clock)
    assert refused.value.code == "upload_lost"
    assert state(database, upload) is UploadState.cancelled
    assert account(database) == (0, 0)
    leftovers.clear(database, folder)
    assert list(folder.list("")) == []


def test_what_is_over_takes_nothing_more(database: Database, folder: ObjectStore) -> None:
    def expire(_: Database, upload: Upload) -> None:
        leftovers.expire(database, now=upload.expires_at + timedelta(seconds=1))

    for end, code in ((cancel, "upload_cancelled"), (expire, "upload_expired")):
        upload = begin(database, 2)
        part = add_part(database, folder, upload, b"ab")
        end(database, upload)
        with pytest.raises(Conflict) as refused_part:
            add_part(database, folder, upload, b"c")
        with pytest.raises(Conflict) as refused:
            claim(database, upload, part)
        assert refused_part.value.code == refused.value.code == code
        assert account(database) == (0, 0)
        assert leftovers.clear(database, folder) == 1
        assert list(folder.list("")) == []


def test_a_cancel_may_be_repeated_but_does_not_undo_a_file(database: Database, folder: ObjectStore) -> None:
    upload = begin(database, 2)
    cancel(database, upload)
    cancel(database, upload)
    done = begin(database, 2)
    finish(database, folder, claim(database, done, add_part(database, folder, done, b"ab")))
    with pytest.raises(Conflict) as refused:
        cancel(database, done)
    assert refused.value.code == "upload_completed"
    assert account(database) == (2, 2)


def test_an_upload_expires_when_its_day_is_over_and_nobody_completes_it(
    database: Database, folder: ObjectStore
) -> None:
    old, busy = begin(database, 2), begin(database, 3)
    late = utcnow() + LATER
    part = add_part(database, folder, busy, b"abc")
    mine = claim(database, busy, part, now=busy.expires_at - timedelta(seconds=1))
    assert leftovers.expire(database) == 0
    with pytest.raises(Conflict) as refused, transaction(database) as session:
        pieces.open_for_part(session, project_id=PROJECT, upload_id=old.id, now=late)
    assert refused.value.code == "upload_expired"
    assert leftovers.expire(database, now=busy.expires_at + timedelta(seconds=1)) == 1
    assert account(database) == (3, 3)
    finish(database, folder, mine)
    assert leftovers.expire(database, now=late + LATER) == 0
    assert [state(database, each) for each in (old, busy)] == [UploadState.expired, UploadState.completed]


def test_rows_of_uploads_that_are_long_over_go(database: Database, folder: ObjectStore) -> None:
    upload = begin(database, 2)
    cancel(database, upload)
    leftovers.clear(database, folder)
    leftovers.clear(database, folder, now=utcnow() + timedelta(seconds=leftovers.KEEP_SECONDS + 60))
    with transaction(database) as session, pytest.raises(NotFound):
        uploads.get_upload(session, project_id=PROJECT, upload_id=upload.id)


def test_parts_that_come_after_the_end_are_swept(database: Database, folder: ObjectStore) -> None:
    pending, over = (begin_direct(database, 3) for _ in range(2))
    cancel(database, over[0])
    leftovers.clear(database, folder)
    for _, [part] in (pending, over):
        put(folder, part, b"abc")
    folder.put("uploads/proj-gone/upload-gone/part-1", io.BytesIO(b"x"), 1)
    assert leftovers.clear_lost(database, folder) == 0
    later = utcnow() + leftovers.LOST_AFTER + timedelta(minutes=1)
    assert leftovers.clear_lost(database, folder, now=later) == 2
    assert list(folder.list("")) == [pending[1][0].key]


def test_another_projects_upload_is_not_there(database: Database) -> None:
    upload = begin(database, 2)
    with transaction(database) as session:
        session.add(Project(id="proj-other", name="other"))
    for attempt in (uploads.get_upload, uploads.cancel_upload, pieces.open_for_part):
        with pytest.raises(NotFound), transaction(database) as session:
            attempt(session, project_id="proj-other", upload_id=upload.id)
    assert state(database, upload) is UploadState.pending


def test_a_completed_upload_tells_its_file_until_that_is_deleted(
    database: Database, folder: ObjectStore
) -> None:
    upload = begin(database, 2)
    file = finish(database, folder, claim(database, upload, add_part(database, folder, upload, b"ab")))

    def told(**given: str) -> str | None:
        with transaction(database) as session:
            row = uploads.get_upload(session, project_id=PROJECT, upload_id=upload.id)
            found = assembly.completed_file(session, upload=row, **given)
            return found.id if found is not None else None

    assert told(sha256=sha256(b"ab")) == file.id
    with pytest.raises(Invalid):
        told(sha256=sha256(b"cd"))
    delete_file(database, file)
    assert told() is None
