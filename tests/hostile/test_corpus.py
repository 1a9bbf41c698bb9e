"""Every hostile input is refused: with its reason, in bounded time and memory, and nothing of it stays."""

import io

import pytest
from sqlalchemy import select

from core import datasets, files
from core.db import transaction
from core.keys import DEFAULT_PROJECT
from core.models import Dataset, DatasetState
from tests.api.platform import Running
from tests.hostile.conftest import Reading
from tests.hostile.corpus import CORPUS
from tests.hostile.packing import Hostile, made

MOST_SECONDS = 3.0
MOST_BYTES = 64 << 20
"""The pages of what is unpacked at once: two pictures of the limit, a tar's or parquet file's parts."""


def test_there_are_many() -> None:
    assert len(CORPUS) >= 60
    assert len({hostile.name for hostile in CORPUS}) == len(CORPUS)


@pytest.mark.parametrize("hostile", CORPUS, ids=lambda hostile: hostile.name)
def test_it_is_refused_with_its_reason_and_little_cost(
    readings: dict[str, Reading], hostile: Hostile
) -> None:
    read = readings[hostile.name]
    assert hostile.says in read.said
    assert read.said.isprintable()
    assert read.seconds < MOST_SECONDS
    assert read.grown < MOST_BYTES
    assert read.left == ["upload"]
    assert read.whole


def test_on_a_platform_nothing_of_it_stays(platform: Running) -> None:
    """Each becomes a failed dataset that says why; beside the uploaded files nothing is in the store."""
    uploaded = [(hostile, upload(platform, hostile)) for hostile in CORPUS]
    before = platform.counts()
    assert platform.work(at_most=1000) == len(CORPUS)
    assert platform.counts() == before | {"attempt": len(CORPUS)}
    with transaction(platform.database) as session:
        found = {dataset.id: dataset for dataset in session.scalars(select(Dataset))}
    for hostile, dataset_id in uploaded:
        dataset = found[dataset_id]
        assert dataset.state is DatasetState.failed, hostile.name
        assert dataset.failure is not None
        assert dataset.failure["reason"] == "user_error", hostile.name
        assert hostile.says in dataset.failure["message"], hostile.name


def upload(platform: Running, hostile: Hostile) -> str:
    """Store an input and make a dataset of it; return its id."""
    data = made(hostile)
    file_id = files.new_id()
    key = files.object_key(project_id=DEFAULT_PROJECT, file_id=file_id)
    stored = platform.store.put(key, io.BytesIO(data), len(data))
    with transaction(platform.database) as session:
        file = files.create_file(
            session,
            project_id=DEFAULT_PROJECT,
            file_id=file_id,
            filename="upload",
            purpose="fine-tune",
            stored=stored,
            key=key,
        )
        return datasets.create_dataset(
            session, project_id=DEFAULT_PROJECT, name="hostile", file_id=file.id
        ).id
