"""A platform is backed up while it runs; what is missing, damaged or left behind is noticed."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from core.backup import lines
from core.backup.copying import Copied, to_backup
from core.backup.creating import create
from core.backup.place import chosen, ids, place_of, table_key
from core.backup.pruning import prune
from core.backup.restoring import restore
from core.backup.tables import LEFT_OUT, kept_tables
from core.backup.verifying import problems
from core.clock import utcnow
from core.errors import StoreUnavailable
from core.models import (
    Sample,
)
from core.settings import Settings
from core.storage.store import ObjectStore
from tests.core.backup.filled import Filled, delete, put
from tests.core.backup.platforms import Platform


def test_a_second_backup_copies_only_what_is_new(laptop: Platform, place: ObjectStore) -> None:
    first = create(laptop.settings, place)
    assert first.copied >= 10
    again = create(laptop.settings, place)
    assert (again.copied, again.copied_bytes) == (0, 0)
    assert again.manifest.objects == first.manifest.objects
    assert ids(place) == ([first.manifest.id, again.manifest.id], [])


def test_nobody_else_can_read_a_backup(laptop: Platform, tmp_path: Path) -> None:
    create(laptop.settings, place_of(str(tmp_path / "backups")))
    modes = {path.is_dir(): path.stat().st_mode & 0o777 for path in (tmp_path / "backups").rglob("*")}
    assert modes == {True: 0o700, False: 0o600}


class Breaking:
    """A place whose n-th object does something else instead."""

    def __init__(self, place: ObjectStore, at: int, instead: Callable[[], object]) -> None:
        self._place = place
        self._left = at
        self._instead = instead

    def put(self, *args: Any, **kwargs: Any) -> Any:
        """Store an object, unless it is the one."""
        self._left -= 1
        if self._left == 0:
            self._instead()
        return self._place.put(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._place, name)


def test_a_backup_that_broke_off_is_none_and_the_next_goes_on(laptop: Platform, place: ObjectStore) -> None:

    def killed() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        create(laptop.settings, Breaking(place, 5, killed))  # type: ignore[arg-type]
    there = len(list(place.list("objects/")))
    assert there >= 4
    assert ids(place) == ([], [])
    with pytest.raises(ValueError, match="there is no backup here"):
        chosen(place, None)
    made = create(laptop.settings, place)
    distinct = len(list(place.list("objects/")))
    assert made.copied == distinct - there
    assert list(problems(place, made.manifest)) == []


def test_what_is_deleted_meanwhile_is_not_in_the_backup(
    laptop: Platform, filled: Filled, place: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies: list[int] = []

    def late(*of: Any) -> Copied:
        """Copy after a user's and the collector's deletion, which comes right behind the snapshot."""
        if not copies:
            delete(laptop.database, laptop.store, filled.gone)
        copies.append(1)
        return to_backup(*of)

    monkeypatch.setattr("core.backup.creating.to_backup", late)
    made = create(laptop.settings, place, pause=lambda: None)
    assert (made.manifest.lost, made.passes, len(copies)) == ((), 2, 2)
    assert list(problems(place, made.manifest)) == []
    [files] = [table for table in made.manifest.tables if table.name == "file"]
    rows = {
        row["id"]: row["key"] for row in lines.read(place, made.manifest.key(table_key("file")), files.lines)
    }
    assert rows[filled.gone] == ""


def test_an_object_that_the_store_lost_is_told_and_restored_only_when_asked(
    laptop: Platform, place: ObjectStore, elsewhere: Settings
) -> None:
    paused: list[int] = []
    lost = next(key for key in laptop.store.list("") if key.endswith("/state.pt"))
    laptop.store.delete(lost)
    torn = next(key for key in laptop.store.list("") if key.endswith("/model_index.json"))
    put(laptop.store, torn, b"other bytes")
    made = create(laptop.settings, place, pause=lambda: paused.append(1))
    assert made.manifest.lost == tuple(sorted([lost, torn]))
    assert len(paused) == 3
    with pytest.raises(ValueError, match="2 objects were missing when the backup was made"):
        restore(elsewhere, place, made.manifest)
    assert not elsewhere.state.exists() or not (elsewhere.state / "objects").exists()
    done = restore(elsewhere, place, made.manifest, incomplete=True)
    assert [each for each in done.warnings if "is missing" in each] == [
        f"{key} is missing: it was when the backup was made" for key in made.manifest.lost
    ]


def test_a_flipped_bit_and_a_missing_object_are_found(
    laptop: Platform, place: ObjectStore, elsewhere: Settings, tmp_path: Path
) -> None:
    manifest = create(laptop.settings, place).manifest
    [flipped, missing, *_] = sorted((tmp_path / "backups" / "objects").glob("*/*"))
    data = bytearray(flipped.read_bytes())
    data[0] ^= 1
    flipped.write_bytes(data)
    missing.unlink()
    found = sorted(problems(place, manifest))
    assert len(found) == 2  # one a content, whichever keys have it
    assert any(flipped.name in each and "has other bytes than its name tells" in each for each in found)
    assert any(missing.name in each and "is missing from the backup" in each for each in found)
    [quick] = problems(place, manifest, thorough=False)
    assert missing.name in quick
    with pytest.raises(ValueError, match="missing or damaged in the backup"):
        restore(elsewhere, place, manifest)


@pytest.mark.parametrize("name", ["manifest.json", "tables/job.jsonl.gz", "objects.jsonl.gz"])
def test_damage_to_the_backups_own_files_is_found(
    laptop: Platform, place: ObjectStore, tmp_path: Path, name: str
) -> None:
    made = create(laptop.settings, place).manifest
    path = tmp_path / "backups" / "backups" / made.id / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    if name == "manifest.json":
        with pytest.raises(ValueError, match="is damaged"):
            chosen(place, made.id)
    else:
        [problem] = problems(place, made)
        assert name in problem
        assert "damaged" in problem


def test_a_store_that_does_not_answer_is_asked_again(
    laptop: Platform, place: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("core.backup.copying.time.sleep", waits.append)

    def away() -> None:
        raise StoreUnavailable("the store does not answer")

    made = create(laptop.settings, Breaking(place, 3, away))  # type: ignore[arg-type]
    assert (made.manifest.lost, waits) == ((), [1.0])


def test_old_backups_go_with_what_only_they_held(
    laptop: Platform, filled: Filled, place: ObjectStore
) -> None:
    first = create(laptop.settings, place).manifest
    delete(laptop.database, laptop.store, filled.gone)
    second = create(laptop.settings, place).manifest
    assert prune(place, keep=1).objects == 0  # objects of less than a day may be of a backup that is made now
    assert ids(place) == ([second.id], [])
    assert prune(place, keep=1, now=utcnow() + timedelta(days=2)).objects == 1
    assert list(problems(place, second)) == []
    with pytest.raises(ValueError, match=f"there is no backup {first.id}"):
        chosen(place, first.id)
    with pytest.raises(ValueError, match="keep 1 backup or more"):
        prune(place, keep=0)


def test_every_claim_in_the_tables_is_put_to_rest() -> None:
    """A new table with a lease must say in core.backup.afterwards what a restore makes of it."""
    known = {"unit", "drawing", "upload", "webhook_endpoint", "attempt"} | LEFT_OUT
    holds = ("fence", "lease_expires_at", "busy_until", "worker")
    found = {table.name for table in kept_tables() for column in table.columns if column.name in holds}
    assert found <= known


def test_every_row_that_tells_of_an_object_is_known() -> None:
    """A new column of keys must say in core.backup.objects which objects it tells of."""
    told = {
        f"{table.name}.{column.name}"
        for table in kept_tables()
        for column in table.columns
        if column.name
        in {"key", "files", "shards", "pages", "fingerprints", "rejections", "output", "result"}
    }
    assert told == {
        "blob.key",
        "blob.files",
        "checkpoint.files",
        "comparison_picture.files",
        "dataset.shards",
        "dataset.pages",
        "dataset.fingerprints",
        "dataset.rejections",
        "drawing.result",
        "file.key",
        "idempotency.key",
        "model_export.key",
        "sample.key",
        "unit.output",
        "unit.shards",  # a number
        "upload_part.key",
    }
    assert Sample.key.type.python_type is str
