"""Evaluation draws held-out captions and measures them with the base's own judge."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image
from pydantic import TypeAdapter

from spin_engine.config import Method
from spin_engine.metrics.judge import Judge, JudgeConfig
from spin_engine.unit_spec import EVALUATE_BASE
from tests.spin_engine.conftest import method, run
from tests.spin_engine.metrics.networks import build_clip
from tests.tiny import build_dataset, picture

SFT = TypeAdapter[Method](Method).validate_python(
    {"type": "sft", "sft": {"hyperparameters": {"eval_samples": 3, "eval_seeds": 3, "eval_steps": 2}}}
)


@pytest.fixture
def held_out(tmp_path: Path) -> Path:
    folder = tmp_path / "held-out"
    build_dataset(folder, 20)
    rows = (folder / "metadata.jsonl").read_text().splitlines()
    (folder / "metadata.jsonl").write_text("\n".join(rows[10:]))
    return folder


def test_held_out_captions_come_first(pipeline: Path, dataset: Path, held_out: Path, tmp_path: Path) -> None:
    inputs = {"base": pipeline, "data": dataset, "validation": held_out}
    heard = run("evaluate", tmp_path / "out", inputs=inputs, iteration=EVALUATE_BASE)
    samples = [line for line in heard.lines if line["type"] == "sample"]
    assert [line["prompt"] for line in samples] == [picture(index)[0] for index in range(10, 18)]
    with Image.open(samples[7]["path"]) as drawn:
        assert drawn.size == (32, 32)
    (evaluation,) = [line for line in heard.lines if line["type"] == "evaluation"]
    assert evaluation["iteration"] == -1
    assert set(evaluation["values"]) == {"histogram_distance"}
    assert set(evaluation["values"]["histogram_distance"]) == {"value", "low", "high"}
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert (report["held_out"], report["captions"], report["judge"]) == (True, 3, False)
    assert report["seeds_per_caption"] == 1
    assert (tmp_path / "out" / "grid.png").is_file()


def test_the_bases_own_judge_measures(pipeline: Path, dataset: Path, tmp_path: Path) -> None:
    base = tmp_path / "base"
    shutil.copytree(pipeline, base)
    captions = tuple(picture(index)[0] for index in range(12))
    Judge(JudgeConfig(("flat", "shaded"), ("thing",), captions, "flat")).save(base / "spindle" / "judge")
    heard = run("evaluate", tmp_path / "out", inputs={"base": base, "data": dataset})
    assert set(heard.lines[-1]["values"]) == {
        "histogram_distance",
        "style_share",
        "frechet_distance",
        "retrieval_at_10",
        "caption_cosine",
    }
    assert json.loads((tmp_path / "out" / "report.json").read_text())["judge"] is True


def test_several_seeds_a_caption(pipeline: Path, dataset: Path, tmp_path: Path) -> None:
    inputs = {"base": pipeline, "data": dataset}
    heard = {}
    for name, chosen in (
        ("one", method()),
        ("three", method(eval_seeds=3)),
        ("sft", SFT),
    ):
        heard[name] = run("evaluate", tmp_path / name, inputs=inputs, method=chosen)
    reports = {name: json.loads((tmp_path / name / "report.json").read_text()) for name in heard}
    assert {name: report["seeds_per_caption"] for name, report in reports.items()} == {
        "one": 1,
        "three": 3,
        "sft": 3,
    }
    assert reports["one"]["captions"] == reports["three"]["captions"] == 3
    assert reports["one"]["samples"] == reports["three"]["samples"] == reports["sft"]["samples"]
    assert reports["three"]["values"] == reports["sft"]["values"] != reports["one"]["values"]
    assert [line["of"] for line in heard["three"].lines if line["type"] == "progress"] == [24, 24]


def test_chosen_metrics_are_measured(pipeline: Path, dataset: Path, tmp_path: Path) -> None:
    build_clip(tmp_path / "clip")
    metrics = [{"name": "clip_score", "model": str(tmp_path / "clip")}, "histogram_distance"]
    chosen = method(metrics=metrics, eval_seeds=2)
    heard = run("evaluate", tmp_path / "out", inputs={"base": pipeline, "data": dataset}, method=chosen)
    assert list(heard.lines[-1]["values"]) == ["clip_score", "histogram_distance"]
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["metrics"] == [metrics[0], {"name": "histogram_distance"}]
    assert -100 < report["values"]["clip_score"]["value"] < 100
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "grid.png",
        "metrics.json",
        "report.json",
        "samples",
    ]


def test_each_guidance_is_measured_and_the_first_draws_the_previews(
    pipeline: Path, dataset: Path, tmp_path: Path
) -> None:
    inputs = {"base": pipeline, "data": dataset}
    alone = run("evaluate", tmp_path / "alone", inputs=inputs, method=method(eval_guidance=4))
    first = run("evaluate", tmp_path / "first", inputs=inputs, method=method(eval_guidance=1))
    both = run("evaluate", tmp_path / "both", inputs=inputs, method=method(eval_guidance=[1, 4]))
    values = {name: heard.lines[-1]["values"]["histogram_distance"] for name, heard in
              (("alone", alone), ("first", first))}  # fmt: skip
    assert both.lines[-1]["values"] == {
        "histogram_distance": values["first"],
        "histogram_distance@4": values["alone"],
    }
    grids = [(tmp_path / name / "grid.png").read_bytes() for name in ("first", "both", "alone")]
    assert grids[0] == grids[1] != grids[2]
    assert [line["of"] for line in both.lines if line["type"] == "progress"] == [16, 16]


def test_a_guidance_named_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="eval_guidance names a value twice"):
        method(eval_guidance=[1.5, 1.5])


def test_the_same_evaluation_draws_the_same_pictures(pipeline: Path, dataset: Path, tmp_path: Path) -> None:
    seen = []
    for name, seed in (("one", 5), ("two", 5), ("other", 6)):
        run("evaluate", tmp_path / name, inputs={"base": pipeline, "data": dataset}, seed=seed)
        seen.append([path.read_bytes() for path in sorted((tmp_path / name / "samples").iterdir())])
    assert len(seen[0]) == 8
    assert seen[0] == seen[1] != seen[2]
