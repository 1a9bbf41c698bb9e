"""A checkpoint is whole or it is not used."""

import json
from pathlib import Path

import pytest

from spin_engine import checkpoint


def write(folder: Path, step: int, text: str = "weights") -> Path:
    def fill(partial: Path) -> None:
        (partial / "weights").mkdir()
        (partial / "weights" / "a.safetensors").write_text(text)

    return checkpoint.write(folder, step=step, iteration=2, fill=fill)


def test_manifest_lists_every_file(tmp_path: Path) -> None:
    folder = write(tmp_path / "checkpoints", 50)
    assert folder.name == "step-00000050"
    assert json.loads((folder / "manifest.json").read_text()) == {
        "step": 50,
        "iteration": 2,
        "files": {
            "weights/a.safetensors": {
                "sha256": "9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c",
                "size": 7,
            }
        },
    }
    assert checkpoint.verify(folder).step == 50


def test_newest_passes_over_what_is_damaged(tmp_path: Path) -> None:
    good = write(tmp_path, 10)
    changed, short, headless = write(tmp_path, 20), write(tmp_path, 30), write(tmp_path, 40)
    (changed / "weights" / "a.safetensors").write_text("wEights")
    (short / "weights" / "a.safetensors").write_text("weight")
    (headless / "manifest.json").unlink()
    assert checkpoint.newest(tmp_path) == good
    with pytest.raises(ValueError, match="missing or damaged"):
        checkpoint.verify(changed)


def test_a_save_that_dies_leaves_the_old_one(tmp_path: Path) -> None:
    good = write(tmp_path, 10)

    def fill(partial: Path) -> None:
        (partial / "half").write_text("x")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        checkpoint.write(tmp_path, step=10, iteration=2, fill=fill)
    assert checkpoint.newest(tmp_path) == good
    assert checkpoint.verify(good).step == 10
    assert write(tmp_path, 20) == checkpoint.newest(tmp_path)


def test_prune_keeps_the_newest(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        write(tmp_path, step)
    checkpoint.prune(tmp_path, keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000002", "step-00000003"]


def test_nothing_to_resume_from(tmp_path: Path) -> None:
    assert checkpoint.newest(tmp_path / "absent") is None
