"""The parts of the stack test that decide, without a container: `python -m tests.stack` runs the rest."""

import json
import zipfile
from pathlib import Path

import pytest

from tests.stack.images import qualified
from tests.stack.proofs import resumed
from tests.stack.table import Proofs
from tests.stack.training import PICTURES, Broken, Drained, Held, small_archive

GONE = Drained(worker="units-1@aaa", step=21, seconds=3.0, exit_code=0)
BEFORE = Held("train", 1, 1, "units-1@aaa", "preempted")
AFTER = Held("train", 1, 2, "units-1@bbb", "succeeded")
OTHERS = [Held("train", 0, 1, "units-1@aaa", "succeeded"), Held("publish", 1, 1, "units-1@bbb", "succeeded")]


def test_a_unit_that_another_worker_took_over_is_told() -> None:
    told = resumed([OTHERS[0], BEFORE, AFTER, OTHERS[1]], GONE)
    assert told == "fence 1 given back, fence 2 succeeded on another worker"


@pytest.mark.parametrize(
    "history",
    [
        pytest.param(OTHERS, id="nothing was given back"),
        pytest.param([*OTHERS, BEFORE], id="nobody took it"),
        pytest.param([BEFORE, Held("train", 1, 2, "units-1@aaa", "succeeded")], id="the same worker did"),
        pytest.param([BEFORE, Held("train", 1, 3, "units-1@bbb", "succeeded")], id="a claim in between"),
        pytest.param([BEFORE, Held("train", 1, 2, "units-1@bbb", "crashed")], id="it failed"),
    ],
)
def test_anything_else_breaks_the_test(history: list[Held]) -> None:
    with pytest.raises(Broken):
        resumed(history, GONE)


def test_an_image_without_a_registry_is_docker_hub_s() -> None:
    assert qualified("postgres:18.6") == "docker.io/library/postgres:18.6"
    assert qualified("prom/prometheus:v3") == "docker.io/prom/prometheus:v3"
    assert qualified("quay.io/minio/minio:R") == "quay.io/minio/minio:R"


def test_the_small_archive_has_a_caption_for_each_picture(tmp_path: Path) -> None:
    with zipfile.ZipFile(small_archive(tmp_path)) as archive:
        lines = [json.loads(line) for line in archive.read("metadata.jsonl").splitlines()]
        assert {line["file_name"] for line in lines} == set(archive.namelist()) - {"metadata.jsonl"}
    assert len(lines) == PICTURES


def test_only_what_ended_well_is_a_row() -> None:
    told: list[str] = []
    proofs = Proofs(tell=told.append)
    with proofs.showing("this") as row:
        row.seen = "seen"
    with pytest.raises(Broken), proofs.showing("that"):
        raise Broken("no")
    assert [row.what for row in proofs.rows] == ["this"]
    assert proofs.markdown().splitlines()[2].startswith("| this | seen | 0.")
    assert told[-1] == "that ..."
