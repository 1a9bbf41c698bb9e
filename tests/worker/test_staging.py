"""Inputs come whole and verified, or not at all."""

import hashlib
import os
from pathlib import Path
from typing import cast

import pytest

from core.errors import StoreUnavailable
from core.settings import Settings
from core.sources import Source, SourceFile
from core.storage.store import ObjectStore
from worker import staging
from worker.staging import Interrupted, inside, make_room, stage
from worker.workplace import open_workplace


def source_of(store: ObjectStore, files: dict[str, bytes], folder: Path) -> Source:
    made = []
    for name, data in files.items():
        local = folder / hashlib.sha256(data).hexdigest()
        local.write_bytes(data)
        stored = store.put_file(f"of/{name}", local)
        made.append(SourceFile(name, f"of/{name}", stored.sha256, stored.size))
    return Source(files=tuple(made))


def test_a_folder_of_this_host_is_used_in_place(tmp_path: Path, store: ObjectStore) -> None:
    found = stage(Source(folder=str(tmp_path)), store=store, cache=tmp_path / "cache", go_on=lambda: True)
    assert found == tmp_path
    assert not (tmp_path / "cache").exists()


def test_files_are_fetched_once_and_named_by_content(tmp_path: Path, store: ObjectStore) -> None:
    cache = tmp_path / "cache"
    source = source_of(store, {"a.txt": b"a", "b/c.txt": b"c"}, tmp_path)
    first = stage(source, store=store, cache=cache, go_on=lambda: True)
    assert (first / "a.txt").read_bytes() == b"a"
    assert (first / "b" / "c.txt").read_bytes() == b"c"
    store.delete("of/a.txt")
    again = stage(
        Source(files=source.files[::-1]),
        store=store,
        cache=cache,
        go_on=lambda: pytest.fail("fetched"),
    )
    assert again == first


def test_a_file_that_is_not_what_its_manifest_tells_is_refused(tmp_path: Path, store: ObjectStore) -> None:
    cache = tmp_path / "cache"
    source = source_of(store, {"a.txt": b"a"}, tmp_path)
    (tmp_path / "other").write_bytes(b"tampered")
    store.put_file("of/a.txt", tmp_path / "other")
    with pytest.raises(ValueError, match=r"of/a\.txt"):
        stage(source, store=store, cache=cache, go_on=lambda: True)
    assert not [path for path in cache.iterdir() if path.suffix != ".part"]


def test_an_order_interrupts_between_files(tmp_path: Path, store: ObjectStore) -> None:
    cache = tmp_path / "cache"
    source = source_of(store, {"a.txt": b"a"}, tmp_path)
    with pytest.raises(Interrupted):
        stage(source, store=store, cache=cache, go_on=lambda: False)
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize("path", ["/etc/passwd", "../up", "a/../../up", ""])
def test_a_manifest_cannot_leave_its_folder(path: str) -> None:
    with pytest.raises(ValueError, match="not a path inside"):
        inside(path)


def test_the_folder_unused_for_longest_makes_room(tmp_path: Path) -> None:
    for age, name in enumerate(("new", "middle", "old")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_bytes(b"12345")
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    make_room(tmp_path, limit=10)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["middle", "new"]
    make_room(tmp_path, limit=1000)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_name_is_held_while_its_worker_lives(tmp_path: Path) -> None:
    settings = Settings(state=tmp_path / "state")
    first, second = open_workplace(settings, "units"), open_workplace(settings, "units")
    assert first.name.startswith("units-1@")
    assert second.name.startswith("units-2@")
    assert [int(path.read_text()) for path in settings.state.glob("work/*/lock-*")] == [os.getpid()] * 2
    left = first.scratch("unit-1")
    (left / "file").touch()
    first.lock.close()  # as the kernel does when the process dies
    next_one = open_workplace(settings, "units")
    assert next_one.name == first.name
    assert not left.exists()
    for place in (first, second, next_one):
        place.lock.close()
        place.database.dispose()


class Away:
    """A store that does not answer a few times."""

    def __init__(self, store: ObjectStore, times: int) -> None:
        self.store, self.times = store, times

    def get_file(self, key: str, path: Path, *, sha256: str) -> None:
        """Answer, at last."""
        self.times -= 1
        if self.times >= 0:
            raise StoreUnavailable("not now")
        self.store.get_file(key, path, sha256=sha256)


def test_a_store_that_is_away_is_waited_for(
    tmp_path: Path, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is no failure of the unit: a short outage must not use up a job's attempts."""
    monkeypatch.setattr(staging, "FIRST_WAIT", 0.0)
    cache = tmp_path / "cache"
    source = source_of(store, {"a.txt": b"a"}, tmp_path)
    away = cast(ObjectStore, Away(store, 3))
    found = stage(source, store=away, cache=cache, go_on=lambda: True)
    assert (found / "a.txt").read_bytes() == b"a"


def test_waiting_for_a_store_ends_with_an_order(
    tmp_path: Path, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging, "FIRST_WAIT", 0.0)
    cache = tmp_path / "cache"
    source = source_of(store, {"a.txt": b"a"}, tmp_path)
    away = Away(store, 1000)
    with pytest.raises(Interrupted):
        stage(source, store=cast(ObjectStore, away), cache=cache, go_on=lambda: away.times > 990)
    assert list(cache.iterdir()) == []
