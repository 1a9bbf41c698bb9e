"""A whole evaluation: two models on the same prompts, each number checked against another way."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from spin_engine.__main__ import main
from spin_engine.evaluation import EvaluationConfig, read_evaluation, run_evaluation
from spin_engine.families.loader import load
from spin_engine.gallery import seed_of
from spin_engine.metrics.choice import MetricChoice
from spin_engine.metrics.clip import clip_score
from spin_engine.reporter import Line
from spin_engine.sampler import draw
from spin_engine.stopping import Stop, Stopped
from tests.services import free_ports
from tests.spin_engine.conftest import Recorder
from tests.spin_engine.metrics.networks import build_clip, build_head

PROMPTS = ["red circle", "green square", "blue triangle"]


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("networks")
    build_clip(folder / "clip")
    build_head(folder / "head")
    return folder


@pytest.fixture
def asked(pipeline: Path, epsilon_pipeline: Path, networks: Path, tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "prompts.txt").write_text("\n".join(PROMPTS) + "\n\n")
    clip = str(networks / "clip")
    return {
        "model": str(pipeline),
        "opponent": str(epsilon_pipeline),
        "prompts": str(tmp_path / "prompts.txt"),
        "images_per_prompt": 2,
        "steps": 2,
        "guidance": 2.0,
        "seed": 3,
        "metrics": [
            {"name": "clip_score", "model": clip},
            {"name": "aesthetic", "model": str(networks / "head"), "base": clip},
        ],
        "best_of": ["clip_score", "aesthetic"],
    }


def evaluated(asked: dict[str, Any], out: Path) -> dict[str, Any]:
    run_evaluation(EvaluationConfig.model_validate(asked), out, Recorder(), Stop())
    report: dict[str, Any] = json.loads((out / "report.json").read_text())
    return report


def test_every_number_follows_from_the_pictures(
    asked: dict[str, Any], networks: Path, tmp_path: Path
) -> None:
    report = evaluated(asked, tmp_path / "out")
    score = clip_score(MetricChoice(name="clip_score", model=str(networks / "clip")), torch.device("cpu"))
    tables = {}
    for name in ("model", "opponent"):
        paths = sorted((tmp_path / "out" / "pictures" / name).glob("*.png"))
        assert len(paths) == 6
        shown = [Image.open(path) for path in paths]
        tables[name] = score(shown, [text for text in PROMPTS for _ in range(2)]).reshape(3, 2)
        value = report["values"][name]["clip_score"]
        assert value["value"] == pytest.approx(tables[name].mean(), abs=1e-3)
        assert value["low"] < value["value"] < value["high"]
    ours, theirs = tables["model"], tables["opponent"]
    assert report["win_rate"]["clip_score"]["value"] == pytest.approx(np.mean(ours > theirs))
    best = report["best_of"]
    assert best["criterion"] == ["clip_score", "aesthetic"]
    assert set(best["win_rate"]) == {"clip_score", "aesthetic", "mean"}
    means = best["values"]["model"]
    assert means["mean"]["value"] == pytest.approx(
        (means["clip_score"]["value"] + means["aesthetic"]["value"]) / 2
    )
    assert (
        means["mean"]["value"]
        >= sum(report["values"]["model"][name]["value"] for name in asked["best_of"]) / 2
    )
    assert (tmp_path / "out" / "grid.png").is_file()


def test_the_pictures_are_those_of_their_seeds(asked: dict[str, Any], pipeline: Path, tmp_path: Path) -> None:
    evaluated(asked, tmp_path / "out")
    (again,) = draw(load(pipeline), [PROMPTS[1]], [""], [seed_of(3, 1, 1)], steps=2, guidance=2.0)
    with Image.open(tmp_path / "out" / "pictures" / "model" / "00003.png") as drawn:
        assert np.abs(np.asarray(drawn, dtype=int) - np.asarray(again, dtype=int)).max() <= 1


def test_real_pictures_are_compared_with(
    asked: dict[str, Any], networks: Path, dataset: Path, tmp_path: Path
) -> None:
    clip = str(networks / "clip")
    chosen = [{"name": name, "model": clip} for name in ("fid", "kid", "precision", "recall")]
    changes = {"opponent": None, "prompts": str(dataset), "limit": 5, "metrics": chosen, "best_of": []}
    report = evaluated(asked | changes, tmp_path / "out")
    assert report["prompts"] == 5
    assert set(report["values"]["model"]) == {"fid", "kid", "precision", "recall"}
    assert report["win_rate"] == {}
    assert "best_of" not in report


def test_a_model_against_itself_ties(asked: dict[str, Any], pipeline: Path, tmp_path: Path) -> None:
    report = evaluated(asked | {"opponent": str(pipeline)}, tmp_path / "out")
    assert {one["value"] for one in report["win_rate"].values()} == {0.5}


def test_stopped_it_goes_on_with_the_same_pictures(asked: dict[str, Any], tmp_path: Path) -> None:
    whole = evaluated(asked, tmp_path / "whole")
    stop = Stop()

    def heard(line: Line) -> None:
        assert line["what"] == "draw model"
        stop.requested = True

    recorder = Recorder(heard)
    with pytest.raises(Stopped):
        run_evaluation(EvaluationConfig.model_validate(asked), tmp_path / "out", recorder, stop)
    first = tmp_path / "out" / "pictures" / "model" / "00000.png"
    assert first.exists()
    assert not (tmp_path / "out" / "report.json").exists()
    before = first.stat().st_mtime_ns
    assert evaluated(asked, tmp_path / "out") == whole
    assert first.stat().st_mtime_ns == before
    with pytest.raises(ValueError, match="holds another evaluation"):
        evaluated(asked | {"seed": 4}, tmp_path / "out")


def test_the_command_prints_where_the_report_lies(
    asked: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "evaluation.yaml").write_text(yaml.safe_dump(asked))
    assert main(["evaluate", str(tmp_path / "evaluation.yaml"), "--out", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'out' / 'report.json'}\n"


def test_two_processes_share_the_drawing(asked: dict[str, Any], tmp_path: Path) -> None:
    alone = evaluated(asked | {"images_per_prompt": 6}, tmp_path / "one")
    (tmp_path / "evaluation.yaml").write_text(yaml.safe_dump(asked | {"images_per_prompt": 6}))
    [port] = free_ports(1)
    shared = os.environ | {
        "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "1", "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
    }  # fmt: skip
    command = [sys.executable, "-m", "spin_engine", "evaluate", str(tmp_path / "evaluation.yaml")]
    children = [
        subprocess.Popen(
            [*command, "--out", str(tmp_path / "two")], env=shared | {"RANK": r, "LOCAL_RANK": r}
        )
        for r in "01"
    ]
    assert [child.wait(timeout=200) for child in children] == [0, 0]
    found = json.loads((tmp_path / "two" / "report.json").read_text())
    assert found["values"]["model"]["clip_score"]["value"] == pytest.approx(
        alone["values"]["model"]["clip_score"]["value"], abs=0.05
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"best_of": ["pickscore"]}, "best_of needs pickscore among the metrics"),
        ({"metrics": []}, "metrics"),
        ({"stepz": 3}, "stepz"),
    ],
)
def test_a_wrong_setting_is_named(
    asked: dict[str, Any], tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    (tmp_path / "evaluation.yaml").write_text(yaml.safe_dump(asked | change))
    with pytest.raises(ValueError, match=reason):
        read_evaluation(tmp_path / "evaluation.yaml")


def test_prompts_must_be_there(asked: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("\n \n")
    with pytest.raises(ValueError, match="has no prompts"):
        evaluated(asked | {"prompts": str(tmp_path / "empty.txt")}, tmp_path / "out")
    shutil.rmtree(tmp_path / "out")
    with pytest.raises(ValueError, match="neither a folder nor a zip"):
        evaluated(asked | {"prompts": str(tmp_path / "absent")}, tmp_path / "out")
