"""What weights came from can be read off them, and off what is published."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from spin_engine import lineage, weights
from spin_engine.files import sha256_of
from spin_engine.latents import Encoded
from spin_engine.packages import versions
from tests.spin_engine.conftest import method, run
from tests.tiny import build_dataset


@pytest.fixture(scope="module")
def rounds(pipeline: Path, encoded: Path, rivals: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train two iterations and publish the second."""
    out = tmp_path_factory.mktemp("rounds")
    inputs = {"base": pipeline, "encoded": encoded}
    run("train", out / "1" / "out", inputs=inputs | {"rivals": rivals})
    second = inputs | {"weights": out / "1" / "out" / "weights"}
    run("generate", out / "rivals", inputs=second, iteration=2)
    run("train", out / "2" / "out", inputs=second | {"rivals": out / "rivals"}, iteration=2)
    run("publish", out / "published", inputs={"base": pipeline, "weights": out / "2" / "out" / "weights"})
    return out


def entries(weights_folder: Path) -> list[dict[str, Any]]:
    return list(weights.about(weights_folder)["lineage"])


def test_an_iteration_names_what_it_came_from(
    rounds: Path, pipeline: Path, encoded: Path, rivals: Path
) -> None:
    first, second = entries(rounds / "2" / "out" / "weights")
    assert [first] == entries(rounds / "1" / "out" / "weights")
    settings = method()
    expected = {
        "iteration": 1,
        "method": "spin",
        "objective": "spin",
        "settings": hashlib.sha256(settings.model_dump_json().encode()).hexdigest(),
        "steps": 4,
        "learning_rate": 1e-3,
        "constants": {"beta": 200.0, "anchor": 0.0},
        "batch_size": 4,
        "adapter": "lora",
        "rank": 4,
        "seed": 5,
        "encoded": Encoded(encoded).key,
        "versions": versions(),
    }
    opponents = {"rivals": lineage.digest(rivals), "opponent": 0}
    assert first == expected | opponents | {"base": lineage.digest(pipeline / "unet")}
    opponents = {"rivals": lineage.digest(rounds / "rivals"), "opponent": 1}
    start = sha256_of(rounds / "1" / "out" / "weights" / "weights.json")
    assert second == expected | opponents | {"iteration": 2, "start": start}
    assert first["rivals"] != second["rivals"]


def test_the_sum_that_is_named_holds_the_files_sums(rounds: Path) -> None:
    folder = rounds / "1" / "out" / "weights"
    described = json.loads((folder / "weights.json").read_text())
    assert described["sha256"] == {weights.ADAPTER_FILE: sha256_of(folder / weights.ADAPTER_FILE)}


def test_checkpoints_have_it_too(rounds: Path) -> None:
    newest = rounds / "2" / "checkpoints" / "step-00000002" / "weights"
    assert entries(newest) == entries(rounds / "2" / "out" / "weights")


def test_a_published_model_carries_it_on(rounds: Path, dataset: Path, tmp_path: Path) -> None:
    model = rounds / "published" / "model"
    published = json.loads((model / "spindle" / "lineage.json").read_text())
    assert published == entries(rounds / "2" / "out" / "weights")
    inputs = {"base": model, "data": dataset}
    run("encode", tmp_path / "encoded", inputs=inputs)
    inputs = {"base": model, "encoded": tmp_path / "encoded"}
    run("train", tmp_path / "3" / "out", inputs=inputs, method={"type": "sft", "sft": {"hyperparameters": {
        "steps": 1, "batch_size": 2}}})  # fmt: skip
    *before, last = entries(tmp_path / "3" / "out" / "weights")
    assert before == published
    assert (last["method"], last["base"]) == ("sft", lineage.digest(model / "unet"))


def test_no_paths_are_in_it(rounds: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    told = [*rounds.rglob("weights.json"), *(rounds / "published").rglob("*.json")]
    assert len(told) > 5
    for path in told:
        assert str(tmp_path_factory.getbasetemp()) not in path.read_text(), path


def test_sums_tell_data_apart_that_look_alike(pipeline: Path, dataset: Path, tmp_path: Path) -> None:
    """As many rows of the same size; and names count as well as contents."""
    build_dataset(tmp_path / "data", 12)
    (tmp_path / "data" / "00000.png").write_bytes((tmp_path / "data" / "00001.png").read_bytes())
    for name, data in (("one", dataset), ("again", dataset), ("other", tmp_path / "data")):
        run("encode", tmp_path / name, inputs={"base": pipeline, "data": data})
    keys = {name: Encoded(tmp_path / name).key for name in ("one", "again", "other")}
    assert keys["one"] == keys["again"] != keys["other"]
    before = lineage.digest(tmp_path / "one")
    (tmp_path / "one" / "shard-00000.safetensors").rename(tmp_path / "one" / "shard-00001.safetensors")
    assert lineage.digest(tmp_path / "one") != before
