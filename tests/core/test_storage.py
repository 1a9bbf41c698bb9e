"""Both stores behave alike: a folder, and a real S3."""

import hashlib
import io
import os
import secrets
import urllib.error
import urllib.request
from base64 import b64encode
from pathlib import Path
from typing import BinaryIO, cast
from urllib.parse import parse_qs, urlsplit

import pytest

from core.errors import StoreUnavailable
from core.settings import Settings
from core.storage.folder import ABANDONED_SECONDS, PARTIAL, FolderStore
from core.storage.objects import Bound
from core.storage.s3 import PART_BYTES, S3Store
from core.storage.store import ObjectStore, store_for
from tests.services import SECRET, free_ports

DATA = bytes(range(256)) * 40


@pytest.fixture
def prefix() -> str:
    """A prefix of this test's own: the S3 store is shared."""
    return f"test-{secrets.token_hex(6)}"


@pytest.fixture
def folder_store(tmp_path: Path) -> FolderStore:
    """A folder store with a clock that stands still."""
    return FolderStore(
        tmp_path / "objects", public_url="http://here:1", secret=b"k" * 32, clock=lambda: 1000.5
    )


def put(store: ObjectStore, key: str, data: bytes = DATA) -> None:
    store.put(key, io.BytesIO(data), len(data))


def read(store: ObjectStore, key: str) -> bytes:
    with store.open(key) as stream:
        return stream.read()


class Broken(io.RawIOBase):
    """Ends in an error after some bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.left = 3

    def readable(self) -> bool:
        """Return True."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Return something, twice."""
        self.left -= 1
        if not self.left:
            raise ConnectionResetError
        return b"x" * (size if size > 0 else 100)


def test_what_is_put_is_read_and_measured(store: ObjectStore, prefix: str) -> None:
    stored = store.put(f"{prefix}/a b/c.bin", io.BytesIO(DATA), None)
    assert stored.size == len(DATA)
    assert stored.sha256 == hashlib.sha256(DATA).hexdigest()
    assert read(store, f"{prefix}/a b/c.bin") == DATA
    found = store.stat(f"{prefix}/a b/c.bin")
    assert found is not None
    assert found.size == len(DATA)
    assert found.modified.utcoffset() is not None


def test_an_empty_object_is_an_object(store: ObjectStore, prefix: str) -> None:
    put(store, f"{prefix}/empty", b"")
    assert read(store, f"{prefix}/empty") == b""
    assert store.exists(f"{prefix}/empty")


def test_a_stream_of_unknown_size_goes_up_in_parts(store: ObjectStore, prefix: str) -> None:
    data = os.urandom(PART_BYTES + 12_345)
    stored = store.put(f"{prefix}/large", io.BytesIO(data), None)
    assert stored.size == len(data)
    digest = hashlib.sha256()
    with store.open(f"{prefix}/large") as stream:
        while piece := stream.read(1 << 20):
            digest.update(piece)
    assert digest.hexdigest() == stored.sha256 == hashlib.sha256(data).hexdigest()


def test_ranges(store: ObjectStore, prefix: str) -> None:
    put(store, f"{prefix}/r", b"0123456789")
    with store.open(f"{prefix}/r", start=3, length=4) as stream:
        assert stream.read() == b"3456"
    with store.open(f"{prefix}/r", start=7) as stream:
        assert stream.read(2) == b"78"
    with store.open(f"{prefix}/r", start=8, length=100) as stream:
        assert stream.read() == b"89"


def test_putting_again_replaces_the_whole(store: ObjectStore, prefix: str) -> None:
    put(store, f"{prefix}/x", b"first and long")
    put(store, f"{prefix}/x", b"second")
    assert read(store, f"{prefix}/x") == b"second"


@pytest.mark.parametrize("announced", [len(DATA) - 1, len(DATA) + 1])
def test_a_stream_of_another_size_is_refused_and_changes_nothing(
    store: ObjectStore, prefix: str, announced: int
) -> None:
    put(store, f"{prefix}/x", b"before")
    with pytest.raises(ValueError, match="announced"):
        store.put(f"{prefix}/x", io.BytesIO(DATA), announced)
    assert read(store, f"{prefix}/x") == b"before"


def test_a_stream_that_breaks_leaves_nothing(store: ObjectStore, prefix: str) -> None:
    with pytest.raises(ConnectionResetError):
        store.put(f"{prefix}/x", cast(BinaryIO, Broken()), None)
    assert not store.exists(f"{prefix}/x")
    assert list(store.list(prefix)) == []


def test_what_is_not_there(store: ObjectStore, prefix: str) -> None:
    assert store.stat(f"{prefix}/none") is None
    assert not store.exists(f"{prefix}/none")
    with pytest.raises(FileNotFoundError), store.open(f"{prefix}/none"):
        pass
    store.delete(f"{prefix}/none")


def test_delete(store: ObjectStore, prefix: str) -> None:
    put(store, f"{prefix}/deep/er/x")
    put(store, f"{prefix}/deep/y")
    store.delete(f"{prefix}/deep/er/x")
    assert list(store.list(prefix)) == [f"{prefix}/deep/y"]


def test_list_is_sorted_and_takes_any_prefix(store: ObjectStore, prefix: str) -> None:
    names = ["a/1", "a-b/2", "a/b/3", "ab", "b"]
    for name in names:
        put(store, f"{prefix}/{name}", b"1")
    assert list(store.list(f"{prefix}/")) == sorted(f"{prefix}/{name}" for name in names)
    assert list(store.list(f"{prefix}/a/")) == [f"{prefix}/a/1", f"{prefix}/a/b/3"]
    assert list(store.list(f"{prefix}/ab")) == [f"{prefix}/ab"]
    assert list(store.list(f"{prefix}/nothing/here")) == []


@pytest.mark.parametrize(
    "key",
    ["", "/etc/passwd", "../x", "a/../../x", "a//b", "a/", ".partial/x", "a/.x", "a\0b", "a\\b", "x" * 901],
)
def test_keys_that_could_leave_are_refused(store: ObjectStore, key: str) -> None:
    with pytest.raises(ValueError, match="is not an object key"):
        store.put(key, io.BytesIO(b"1"), 1)
    with pytest.raises(ValueError, match="is not an object key"):
        store.signed_url(key, 60)


def test_files_go_up_and_come_down_whole(store: ObjectStore, prefix: str, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(DATA)
    stored = store.put_file(f"{prefix}/f", source)
    store.get_file(f"{prefix}/f", target, sha256=stored.sha256)
    assert target.read_bytes() == DATA
    put(store, f"{prefix}/f", b"tampered with")
    with pytest.raises(ValueError, match="sha256"):
        store.get_file(f"{prefix}/f", target, sha256=stored.sha256)
    assert target.read_bytes() == DATA
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["source", "target"]


def test_a_store_that_can_be_used_says_nothing(store: ObjectStore) -> None:
    store.prepare()
    store.check()


def test_signed_links_of_the_folder(folder_store: FolderStore) -> None:
    url = urlsplit(folder_store.signed_url("jobs/a b/u.png", 60))
    query = parse_qs(url.query)
    assert url.path == "/v1/objects/jobs/a%20b/u.png"
    assert query["expires"] == ["1060"]
    [signature] = query["signature"]
    assert folder_store.verify("jobs/a b/u.png", expires=1060, signature=signature)
    assert not folder_store.verify("jobs/a b/v.png", expires=1060, signature=signature)
    assert not folder_store.verify("jobs/a b/u.png", expires=2060, signature=signature)
    assert not folder_store.verify("jobs/a b/u.png", expires=1060, signature=signature[::-1])
    assert not folder_store.verify("jobs/a b/u.png", expires=1060, signature="ä")


def test_a_signed_link_expires(folder_store: FolderStore, tmp_path: Path) -> None:
    [signature] = parse_qs(urlsplit(folder_store.signed_url("x", 60)).query)["signature"]
    later = FolderStore(tmp_path, public_url="", secret=b"k" * 32, clock=lambda: 1060.0)
    assert not later.verify("x", expires=1060, signature=signature)


def test_a_rotated_secret_breaks_no_link(tmp_path: Path) -> None:
    def store_with(**secrets: str) -> ObjectStore:
        return store_for(Settings.model_validate({"state": tmp_path, **secrets}))

    old, new, other = (letter * 4 + "0123456789abcdef" * 2 for letter in "xyz")
    bound = Bound(3)
    link = parse_qs(urlsplit(store_with(secret=old).signed_url("a", 60)).query)
    place = parse_qs(urlsplit(store_with(secret=old).signed_put("a", bound, 60).url).query)
    rotated = {
        "rotated": store_with(secret=new, previous_secrets=f"{other} {old}"),
        "dropped": store_with(secret=new, previous_secrets=other),
    }
    found = {
        name: (
            store.verify("a", expires=int(link["expires"][0]), signature=link["signature"][0]),
            store.verify_put("a", bound, expires=int(place["expires"][0]), signature=place["signature"][0]),
        )
        for name, store in rotated.items()
    }
    assert found == {"rotated": (True, True), "dropped": (False, False)}
    assert "signature=" + link["signature"][0] not in rotated["rotated"].signed_url("a", 60)


def test_a_stream_of_another_digest_is_refused_and_changes_nothing(store: ObjectStore, prefix: str) -> None:
    put(store, f"{prefix}/x", b"before")
    with pytest.raises(ValueError, match="sha256"):
        store.put(f"{prefix}/x", io.BytesIO(DATA), len(DATA), sha256=hashlib.sha256(b"else").hexdigest())
    assert read(store, f"{prefix}/x") == b"before"
    store.put(f"{prefix}/x", io.BytesIO(DATA), len(DATA), sha256=hashlib.sha256(DATA).hexdigest())
    assert read(store, f"{prefix}/x") == DATA


def test_a_tag_tells_bytes_from_others(store: ObjectStore, prefix: str) -> None:
    tags = []
    for data in (b"one", b"two"):
        put(store, f"{prefix}/x", data)
        found = store.stat(f"{prefix}/x")
        assert found is not None
        tags.append(found.tag)
    assert len(set(tags)) == 2


def test_an_address_of_the_folder_binds_key_length_digest_and_expiry(folder_store: FolderStore) -> None:
    bound = Bound(5, "a" * 64)
    link = folder_store.signed_put("uploads/p/u/1", bound, 60)
    query = {name: values[0] for name, values in parse_qs(urlsplit(link.url).query).items()}
    signature = query.pop("signature")
    assert query == {"expires": "1060", "length": "5", "sha256": "a" * 64}
    assert link.headers == {}

    def good(key: str = "uploads/p/u/1", bound: Bound = bound, expires: int = 1060) -> bool:
        return folder_store.verify_put(key, bound, expires=expires, signature=signature)

    assert good()
    assert not good(key="uploads/p/u/2")
    assert not good(bound=Bound(6, "a" * 64))
    assert not good(bound=Bound(5, "b" * 64))
    assert not good(bound=Bound(5))
    assert not good(expires=2060)
    assert not folder_store.verify("uploads/p/u/1", expires=1060, signature=signature)
    read = parse_qs(urlsplit(folder_store.signed_url("uploads/p/u/1", 60)).query)["signature"][0]
    assert not folder_store.verify_put("uploads/p/u/1", bound, expires=1060, signature=read)


def test_an_address_to_write_at_expires(folder_store: FolderStore, tmp_path: Path) -> None:
    link = folder_store.signed_put("x", Bound(1), 60)
    [signature] = parse_qs(urlsplit(link.url).query)["signature"]
    later = FolderStore(tmp_path, public_url="", secret=b"k" * 32, clock=lambda: 1060.0)
    assert not later.verify_put("x", Bound(1), expires=1060, signature=signature)


def put_at(url: str, data: bytes, headers: dict[str, str]) -> int:
    """PUT to an address of the test's own and return the status."""
    request = urllib.request.Request(url, data=data, headers=headers, method="PUT")  # noqa: S310
    try:
        with urllib.request.urlopen(request) as answer:  # noqa: S310
            return int(answer.status)
    except urllib.error.HTTPError as refused:
        refused.close()
        return refused.code


def test_an_address_of_s3_binds_key_length_and_digest(seaweedfs_url: str, prefix: str) -> None:
    store = S3Store.from_url(seaweedfs_url)
    link = store.signed_put(f"{prefix}/x", Bound(len(DATA), hashlib.sha256(DATA).hexdigest()), 60)
    other = DATA[::-1]
    assert put_at(link.url, DATA + b"1", link.headers) == 403
    assert put_at(link.url.replace(f"{prefix}/x", f"{prefix}/y"), DATA, link.headers) == 403
    theirs = {"x-amz-checksum-sha256": b64encode(hashlib.sha256(other).digest()).decode()}
    assert put_at(link.url, other, theirs) == 403
    assert put_at(link.url, other, link.headers) == 400
    assert list(store.list(prefix)) == []
    assert put_at(link.url, DATA, link.headers) == 200
    assert read(store, f"{prefix}/x") == DATA
    assert SECRET not in link.url


def test_an_address_of_s3_without_a_digest_takes_any_bytes_of_that_length(
    seaweedfs_url: str, prefix: str
) -> None:
    store = S3Store.from_url(seaweedfs_url)
    link = store.signed_put(f"{prefix}/a b", Bound(3), 60)
    assert link.headers == {}
    assert put_at(link.url, b"four", {}) == 403
    assert put_at(link.url, b"abc", {}) == 200
    assert read(store, f"{prefix}/a b") == b"abc"


def test_a_delete_takes_emptied_folders_along(folder_store: FolderStore, tmp_path: Path) -> None:
    put(folder_store, "a/b/c")
    folder_store.delete("a/b/c")
    assert [path.name for path in (tmp_path / "objects").iterdir()] == [PARTIAL]
    assert list((tmp_path / "objects" / PARTIAL).iterdir()) == []


def test_signed_links_of_s3(seaweedfs_url: str, prefix: str) -> None:
    store = S3Store.from_url(seaweedfs_url)
    put(store, f"{prefix}/x")
    url = store.signed_url(f"{prefix}/x", 60)
    with urllib.request.urlopen(url) as answer:  # noqa: S310  an address of the test's own
        assert answer.read() == DATA
    assert SECRET not in url
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(url.replace(f"{prefix}/x", f"{prefix}/y"))  # noqa: S310
    assert refused.value.code == 403
    refused.value.close()


def test_links_of_s3_can_name_the_address_that_users_reach(seaweedfs_url: str) -> None:
    store = S3Store.from_url(f"{seaweedfs_url}&public=https://files.example.org")
    assert store.signed_url("x", 60).startswith("https://files.example.org/spindle/x?")


def test_a_wrong_secret_is_refused_not_retried(seaweedfs_url: str) -> None:
    store = S3Store.from_url(seaweedfs_url.replace(SECRET, "x" * 20))
    with pytest.raises(PermissionError, match="SignatureDoesNotMatch"):
        put(store, "x")


def test_a_missing_bucket_is_told(seaweedfs_url: str) -> None:
    with pytest.raises(PermissionError, match="no bucket 'absent'"):
        S3Store.from_url(seaweedfs_url.replace("/spindle?", "/absent?")).check()


def test_a_store_that_is_down_is_unavailable() -> None:
    store = S3Store.from_url(f"s3://key:secret-secret@127.0.0.1:{free_ports(1)[0]}/bucket?secure=0")
    with pytest.raises(StoreUnavailable):
        store.exists("x")


def test_unknown_options_of_the_address_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\['sequre'\]"):
        S3Store.from_url("s3://key:secret@host/bucket?sequre=0")


def test_what_a_killed_upload_left_is_removed_after_a_day(tmp_path: Path) -> None:
    store = FolderStore(
        tmp_path / "objects", public_url="http://here:1", secret=b"k" * 32, clock=lambda: 200_000.0
    )
    store.prepare()
    partials = tmp_path / "objects" / PARTIAL
    for name, age in (("killed", ABANDONED_SECONDS + 1), ("running", ABANDONED_SECONDS - 1)):
        (partials / name).write_bytes(b"half")
        os.utime(partials / name, (200_000.0 - age,) * 2)
    put(store, "a/b")
    store.prepare()
    assert [path.name for path in partials.iterdir()] == ["running"]
    assert read(store, "a/b") == DATA
