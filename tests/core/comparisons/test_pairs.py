"""Votes become pairs: chosen when they are asked for, packed as what is uploaded, numbered as any dataset."""

import tarfile
from pathlib import Path

import pytest

from core.comparisons import pairs
from core.comparisons.pixels import bare
from core.db import Database, transaction
from core.errors import Conflict
from core.ingest.dataset import ingest
from core.ingest.options import Options, Split
from core.models import Dataset
from core.settings import Settings
from core.storage.store import store_for
from tests.api.platform import read_object
from tests.comparing import png
from tests.core.archives import LIMITS
from tests.core.comparisons.making import drawn, prefer
from tests.core.runs.making import PROJECT, snapshot


def make(
    database: Database, comparison_id: str, *, agreed: float = 0.5, options: Options | None = None
) -> Dataset:
    with transaction(database) as session:
        return pairs.create_dataset(
            session,
            project_id=PROJECT,
            comparison_id=comparison_id,
            name="preferred",
            agreed=agreed,
            options=options,
        )


def chosen(database: Database, dataset: Dataset) -> list[pairs.WonAndLost]:
    with transaction(database) as session:
        return pairs.pairs_of(session, session.get_one(Dataset, dataset.id))


def test_later_votes_do_not_change_what_was_asked_for(database: Database, settings: Settings) -> None:
    comparison_id = drawn(database, settings, prompts=2)
    prefer(database, comparison_id, 1)
    first = make(database, comparison_id)
    for voter in ("ada", "bob", "bob", "eve", "eve"):
        prefer(database, comparison_id, 0, voter=voter)
    second = make(database, comparison_id)
    assert [(each.name, each.version) for each in (first, second)] == [("preferred", 1), ("preferred", 2)]
    assert len(chosen(database, first)) == 1
    [was] = chosen(database, first)
    [now] = [each for each in chosen(database, second) if each.prompt == was.prompt]
    assert (now.winner, now.loser) == (was.loser, was.winner)


def test_it_is_packed_as_what_is_uploaded_and_read_as_pairs(
    database: Database, settings: Settings, tmp_path: Path
) -> None:
    store = store_for(settings)
    comparison_id = drawn(database, settings, count=3, prompts=2)
    for _ in range(6):
        prefer(database, comparison_id, 2)
    dataset = make(database, comparison_id)
    found = chosen(database, dataset)
    assert [each.name for each in found] == ["000-0-2-0", "000-0-2-1", "001-0-2-0", "001-0-2-1"]
    archive = tmp_path / "archive"
    pairs.pack(found, archive, read=lambda file: read_object(store, file.key))
    with tarfile.open(archive) as tar:
        names = tar.getnames()
        winner = tar.extractfile(names[0])
        assert winner is not None
        assert winner.read() == bare(png("model-2 prompt 0 0"))
    assert names[:3] == ["000-0-2-0.png", "000-0-2-0.loser.png", "000-0-2-0.txt"]
    read = ingest(archive, tmp_path / "out", limits=LIMITS)
    assert (read.rows, read.statistics["pairs"], read.rejected) == (4, 4, [])


def test_nothing_is_made_of_ties_or_of_too_little_agreement(database: Database, settings: Settings) -> None:
    comparison_id = drawn(database, settings, prompts=1)
    prefer(database, comparison_id, None)
    prefer(database, comparison_id, 1, voter="bob")
    before = snapshot(database)
    with pytest.raises(Conflict) as refused:
        make(database, comparison_id, agreed=0.8)
    assert refused.value.code == "nothing_decided"
    assert {name: rows for name, rows in snapshot(database).items() if name != "comparison"} == {
        name: rows for name, rows in before.items() if name != "comparison"
    }
    assert len(chosen(database, make(database, comparison_id, agreed=0.75))) == 1


def test_some_may_be_held_out(database: Database, settings: Settings) -> None:
    comparison_id = drawn(database, settings, prompts=4)
    for _ in range(4):
        prefer(database, comparison_id, 1)
    made = make(database, comparison_id, options=Options(split=Split(0.25, "caption")))
    with transaction(database) as session:
        sibling = session.get_one(Dataset, made.sibling_id)
    assert (made.part, sibling.part, sibling.name) == ("training", "validation", "preferred.validation")
    assert made.comparison_id == sibling.comparison_id == comparison_id
