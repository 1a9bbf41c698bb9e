"""What lies in a dataset, on both databases: rows, what was left out, what two datasets share."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core import contents, datasets, intake
from core.db import Database, transaction
from core.errors import Conflict, Invalid
from core.ingest.dataset import Rejected, ingest
from core.ingest.limits import Limits
from core.models import Dataset, DatasetState
from core.settings import Settings
from core.storage.folder import FolderStore
from tests.core.archives import jsonl, picture, write_zip
from tests.core.runs.making import PROJECT, claim_next, ground


@pytest.fixture
def made(database: Database) -> str:
    """A dataset that is being validated; its id."""
    with transaction(database) as session:
        ground(session)
        return datasets.create_dataset(session, project_id=PROJECT, name="birds", file_id="file-1").id


@pytest.fixture
def folder(tmp_path: Path) -> FolderStore:
    """A store."""
    return FolderStore(tmp_path / "objects", public_url="http://x", secret=b"s" * 32)


def state_of(database: Database, dataset_id: str) -> Dataset:
    with transaction(database) as session:
        return datasets.get_dataset(session, project_id=PROJECT, dataset_id=dataset_id)


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

    page = contents.rows(store, dataset, after=None, limit=2)
    assert ([(row.index, row.text) for row in page.items], page.has_more) == (
        [(0, "caption 000.png"), (1, "caption 001.png")],
        True,
    )
    page = contents.rows(store, dataset, after=97, limit=100)
    assert ([row.index for row in page.items], page.has_more) == (list(range(98, 198)), True)
    page = contents.rows(store, dataset, after=197, limit=100)
    assert ([row.index for row in page.items], page.has_more) == (list(range(198, 230)), False)
    page = contents.rows(store, dataset, after=229, limit=100)
    assert (list(page.items), page.has_more) == ([], False)
    page = contents.rows(store, dataset, after=10**9, limit=100)
    assert (list(page.items), page.has_more) == ([], False)


def test_rows_of_a_dataset_that_is_not_ready(database: Database, made: str, tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "objects", public_url="http://x", secret=b"s" * 32)
    with pytest.raises(Conflict, match="is validating: it has rows when it is ready"):
        contents.rows(store, state_of(database, made), after=None, limit=1)


def numbered(folder: Path, count: int, *, bad: int = 0) -> Path:
    """Return a zip of pictures, all different, and so many captions without one."""
    pictures = {f"{number:03d}.png": picture((number, 255 - number, 9)) for number in range(count)}
    lines = jsonl(*((name, f"caption {name}") for name in pictures)) + jsonl(("none.png", "missing")) * bad
    return write_zip(folder / f"{count}-{bad}.zip", pictures | {"metadata.jsonl": lines})


def validate(database: Database, store: FolderStore, archive: Path, out: Path, limits: Limits) -> Dataset:
    """Do what a worker does with the dataset that is next."""
    claim = claim_next(database)
    assert claim.dataset_id is not None
    try:
        found = ingest(archive, out, limits=limits)
    except Rejected as error:
        files = upload(store, out, claim.prefix)
        with transaction(database) as session:
            intake.refuse(session, claim, message=str(error), rejected=error.rejected, files=files)
    else:
        files = upload(store, out, claim.prefix)
        with transaction(database) as session:
            intake.accept(session, claim, found=found.as_json(), files=files)
    return state_of(database, claim.dataset_id)


def indices(store: FolderStore, dataset: Dataset, after: int | None, limit: int) -> tuple[list[int], bool]:
    page = contents.rejected(store, dataset, after=after, limit=limit)
    return [index for index, _ in page.items], page.has_more


@pytest.mark.usefixtures("made")
@pytest.mark.parametrize("count", [1, 0])
def test_all_rejected_rows_are_paged_of_what_is_ready_and_what_failed(
    database: Database, settings: Settings, folder: FolderStore, tmp_path: Path, count: int
) -> None:
    archive = numbered(tmp_path, count, bad=2500)
    dataset = validate(database, folder, archive, tmp_path / "out", intake.limits_of(settings))
    assert dataset.state is (DatasetState.ready if count else DatasetState.failed)
    assert len(dataset.rejected or []) == 1000
    assert [page["path"] for page in dataset.rejections or []] == [
        "rejected-00000.json",
        "rejected-00001.json",
        "rejected-00002.json",
    ]
    assert indices(folder, dataset, None, 2) == ([0, 1], True)
    assert indices(folder, dataset, 997, 4) == ([998, 999, 1000, 1001], True)
    assert indices(folder, dataset, 2398, 101) == (list(range(2399, 2500)), False)
    assert indices(folder, dataset, 2499, 5) == ([], False)
    assert indices(folder, dataset, 2**31 - 1, 5) == ([], False)
    page = contents.rejected(folder, dataset, after=2498, limit=1)
    expected = {"file": "none.png", "row": 2500 + count, "reason": "no such file in the archive"}
    assert list(page.items) == [(2499, expected)]


@pytest.mark.usefixtures("made")
def test_few_rejected_rows_lie_in_the_datasets_own_row(
    database: Database, settings: Settings, folder: FolderStore, tmp_path: Path
) -> None:
    archive = numbered(tmp_path, 1, bad=3)
    dataset = validate(database, folder, archive, tmp_path / "out", intake.limits_of(settings))
    assert dataset.rejections == []
    assert indices(folder, dataset, None, 2) == ([0, 1], True)
    assert indices(folder, dataset, 1, 2) == ([2], False)


def test_rejected_rows_of_what_is_being_validated(database: Database, made: str, folder: FolderStore) -> None:
    with pytest.raises(Conflict, match="is validating: which rows are left out is known when it has ended"):
        contents.rejected(folder, state_of(database, made), after=None, limit=1)


def test_what_two_datasets_share(
    database: Database, settings: Settings, made: str, folder: FolderStore, tmp_path: Path
) -> None:
    limits = replace(intake.limits_of(settings), shard_rows=2)
    first = validate(database, folder, numbered(tmp_path, 30), tmp_path / "one", limits)
    with transaction(database) as session:
        datasets.create_dataset(session, project_id=PROJECT, name="held out", file_id="file-1")
    second = validate(database, folder, numbered(tmp_path, 4), tmp_path / "two", limits)
    found = contents.overlap(folder, second, first)
    assert (found.rows, found.identical, found.alike) == (4, 4, 0)
    assert found.examples[3] == {"row": 3, "other": 3, "identical": True}
    assert contents.overlap(folder, first, second).identical == 4
    assert first.id == made

    second.rows = contents.MOST_COMPARED
    with pytest.raises(Invalid, match=r"have 100030 rows, more than the 100000 that are compared at once"):
        contents.overlap(folder, first, second)
    second.fingerprints = None
    with pytest.raises(Conflict, match="was made by an earlier version"):
        contents.overlap(folder, first, second)
    second.state = DatasetState.failed
    with pytest.raises(Conflict, match="is failed"):
        contents.overlap(folder, first, second)
