"""Uploads whose parts go straight to the store: nothing that it lets pass becomes a file unchecked."""

import pytest

from core.db import Database
from core.errors import Conflict, Invalid
from core.models import Upload, UploadPart
from core.settings import Settings
from core.storage.store import ObjectStore, store_for
from core.uploads import direct
from tests.core.uploading import account, add_part, begin_direct, claim, content, finish, put, sha256


@pytest.fixture
def folder(settings: Settings) -> ObjectStore:
    """The store of these settings."""
    return store_for(settings)


def test_direct_parts_are_as_large_as_is_told(database: Database) -> None:
    upload, parts = begin_direct(database, 2 * 65536 + 5)
    assert [(part.number, part.bytes, part.sha256) for part in parts] == [
        (0, 65536, None),
        (1, 65536, None),
        (2, 5, None),
    ]
    assert len({part.key for part in parts}) == 3
    _, parts = begin_direct(database, direct.USUAL_PART + 1, part_bytes=None)
    assert [part.bytes for part in parts] == [direct.USUAL_PART, 1]
    assert upload.part_bytes == 65536


def test_direct_parts_that_do_not_fit_are_refused(database: Database) -> None:
    cases: list[tuple[int, dict[str, object], str]] = [
        (65536 * direct.MAX_PARTS + 1, {}, "too_many_parts"),
        (65537, {"part_sha256": ["0" * 64]}, "wrong_number_of_parts"),
    ]
    for size, told, code in cases:
        with pytest.raises(Invalid) as refused:
            begin_direct(database, size, **told)
        assert refused.value.code == code
    assert account(database) == (0, 0)


DATA = bytes(range(256)) * 256 + b"tail"


def test_whatever_the_store_let_pass_is_checked(database: Database, folder: ObjectStore) -> None:
    plain, held = (
        begin_direct(database, len(DATA), part_sha256=digests)
        for digests in (None, [sha256(DATA[:65536]), sha256(DATA[65536:])])
    )
    cases: list[tuple[tuple[Upload, list[UploadPart]], list[bytes], str]] = [
        (plain, [DATA[:65536]], "part_missing"),
        (plain, [DATA[:65535], DATA[65536:]], "part_wrong_size"),
        (plain, [DATA[:65536] + b"1", DATA[65536:]], "part_wrong_size"),
        (held, [DATA[:65536], b"liat"], "part_wrong_sha256"),
    ]
    for (upload, parts), sent, code in cases:
        for part, data in zip(parts, sent, strict=False):
            put(folder, part, data)
        with pytest.raises(Invalid) as refused:
            finish(database, folder, claim(database, upload, *parts))
        assert refused.value.code == code
        assert list(folder.list("files/")) == []
    for upload, parts in (plain, held):
        put(folder, parts[0], DATA[:65536])
        put(folder, parts[1], DATA[65536:])
        file = finish(database, folder, claim(database, upload, *parts))
        put(folder, parts[0], b"x" * 65536)  # an address outlives its upload
        assert content(database, folder, file) == DATA


def test_direct_parts_go_in_their_order(database: Database, folder: ObjectStore) -> None:
    upload, parts = begin_direct(database, 2 * 65536)
    for wrong in ((1, 0), (0, 0)):
        with pytest.raises(Invalid) as refused:
            claim(database, upload, *(parts[place] for place in wrong))
        assert refused.value.code == "wrong_order"
    with pytest.raises(Conflict) as direct_only:
        add_part(database, folder, upload, b"x")
    assert direct_only.value.code == "upload_is_direct"
