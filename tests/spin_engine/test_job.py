"""A whole job in one process, and what it leaves behind."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from safetensors.torch import load_file

from spin_engine.config import JobConfig
from spin_engine.families.loader import load
from spin_engine.job import read_job, run_job
from spin_engine.reporter import Line, Terminal
from spin_engine.sampler import draw
from spin_engine.stopping import Stop, Stopped
from tests.spin_engine.conftest import SPIN, Recorder

PLAIN = """
import sys, torch
from diffusers import DiffusionPipeline, DPMSolverMultistepScheduler
pipeline = DiffusionPipeline.from_pretrained(sys.argv[1], use_safetensors=True)
pipeline.scheduler = DPMSolverMultistepScheduler.from_config(
    pipeline.scheduler.config, timestep_spacing="linspace"
)
pipeline("red circle", generator=torch.Generator().manual_seed(4), num_inference_steps=3,
         guidance_scale=2.0).images[0].save(sys.argv[2])
assert not any(name.startswith("spin_engine") for name in sys.modules)
"""


def job(pipeline: Path, dataset: Path, **changes: Any) -> JobConfig:
    hyperparameters = {**SPIN, "sft_steps": 2, "sft_learning_rate": 1e-3, "checkpoint_every": 1, **changes}
    return JobConfig.model_validate(
        {
            "model": str(pipeline),
            "training_data": str(dataset),
            "seed": 1,
            "method": {"type": "spin", "spin": {"hyperparameters": hyperparameters}},
        }
    )


@pytest.fixture(scope="module")
def finished(pipeline: Path, dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("job")
    terminal = Terminal(out)
    run_job(job(pipeline, dataset), out, terminal, Stop())
    terminal.close()
    return out


def test_metrics_and_grids_lie_in_the_folder(finished: Path) -> None:
    lines = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    steps = [(line["iteration"], line["step"]) for line in lines if line["type"] == "metrics"]
    assert steps == [(0, 1), (0, 2), *((k, step) for k in (1, 2) for step in (1, 2, 3, 4))]
    assert [line["iteration"] for line in lines if line["type"] == "evaluation"] == [-1, 0, 1, 2]
    assert sorted(path.name for path in finished.glob("grid-*")) == [
        "grid-00.png",
        "grid-01.png",
        "grid-02.png",
        "grid-base.png",
    ]


def test_evaluation_tells_what_it_drew(finished: Path) -> None:
    folder = finished / "work" / "iteration-02" / "evaluation"
    report = json.loads((folder / "report.json").read_text())
    assert (report["iteration"], report["captions"], report["held_out"]) == (2, 3, False)
    assert report["values"] == json.loads((folder / "metrics.json").read_text())
    family = load(finished / "model")
    sample = report["samples"][5]
    (again,) = draw(family, [sample["prompt"]], [""], [sample["seed"]], steps=2, guidance=7.5)
    with Image.open(folder / "samples" / "5.png") as drawn:
        assert np.abs(np.asarray(drawn, dtype=int) - np.asarray(again, dtype=int)).max() <= 1


def test_plain_diffusers_loads_the_result_and_draws_the_same(finished: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", PLAIN, str(finished / "model"), str(tmp_path / "plain.png")]
    subprocess.run(command, check=True, cwd=tmp_path, capture_output=True)
    weights = finished / "work" / "iteration-02" / "trained" / "weights"
    folder = json.loads((finished / "job.json").read_text())["model"]
    (ours,) = draw(load(folder, weights), ["red circle"], [""], [4], steps=3, guidance=2.0)
    (base,) = draw(load(folder), ["red circle"], [""], [4], steps=3, guidance=2.0)
    with Image.open(tmp_path / "plain.png") as plain:
        difference = np.abs(np.asarray(plain, dtype=int) - np.asarray(ours, dtype=int))
    assert difference.max() <= 1
    assert ours.tobytes() != base.tobytes()


def test_a_finished_job_does_nothing(finished: Path, pipeline: Path, dataset: Path) -> None:
    heard = Recorder()
    assert run_job(job(pipeline, dataset), finished, heard, Stop()) == finished / "model"
    assert heard.lines == []


def test_another_job_in_the_same_folder_is_refused(finished: Path, pipeline: Path, dataset: Path) -> None:
    before = (finished / "job.json").read_bytes()
    with pytest.raises(ValueError, match="holds another job"):
        run_job(job(pipeline, dataset, rank=8), finished, Recorder(), Stop())
    assert (finished / "job.json").read_bytes() == before


def test_a_job_stopped_again_and_again_ends_with_the_same_model(
    finished: Path, pipeline: Path, dataset: Path, tmp_path: Path
) -> None:
    stops = 0
    while not (tmp_path / "model").exists():
        stop, patience = Stop(), 4 + stops
        lines: list[Line] = []

        def heard(line: Line, stop: Stop = stop, lines: list[Line] = lines, patience: int = patience) -> None:
            lines.append(line)
            stop.requested = len(lines) >= patience

        try:
            run_job(job(pipeline, dataset), tmp_path, Recorder(heard), stop)
        except Stopped:
            stops += 1
    assert stops > 5
    name = "pytorch_lora_weights.safetensors"
    one, other = load_file(finished / "model" / name), load_file(tmp_path / "model" / name)
    assert all((one[key] == other[key]).all() for key in one)
    assert one.keys() == other.keys()
    unet = "unet/diffusion_pytorch_model.safetensors"
    assert (finished / "model" / unet).read_bytes() == (tmp_path / "model" / unet).read_bytes()


def test_the_base_models_recommendations_fill_what_is_left_open(tmp_path: Path) -> None:
    base = tmp_path / "base"
    (base / "spindle").mkdir(parents=True)
    (base / "spindle" / "defaults.json").write_text(json.dumps({"sft": {"steps": 7, "learning_rate": 0.5}}))
    config = tmp_path / "job.yaml"
    settings = {"type": "sft", "sft": {"hyperparameters": {"steps": 3, "learning_rate": "auto"}}}
    config.write_text(yaml.safe_dump({"model": str(base), "training_data": "x", "method": settings}))
    found = read_job(config).method.hyperparameters
    assert found.for_iteration(1).steps == 3
    assert found.for_iteration(1).learning_rate == 0.5
    config.write_text(config.read_text().replace("steps", "step"))
    with pytest.raises(ValueError, match=r"sft\.hyperparameters\.step\n"):
        read_job(config)
