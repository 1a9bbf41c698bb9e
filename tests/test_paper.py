"""The paper's runner: several processes leave what one leaves."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from spin_engine.job import read_job, run_job
from spin_engine.reporter import Line
from spin_engine.stopping import Stop
from tests.tiny import build_dataset, build_pipeline

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = {
    "n_iterations": 1, "steps": 3, "learning_rate": 1e-4, "beta": 200.0, "adapter": "full", "batch_size": 4,
    "micro_batch_size": 2, "rival_steps": 2, "checkpoint_every": 2, "eval_samples": 2, "eval_steps": 1,
}  # fmt: skip


class Silent:
    """A reporter that nobody hears."""

    def send(self, line: Line) -> None:
        """Drop the line."""


@pytest.mark.timeout(
    900
)  # seven processes that import torch: under a minute alone, minutes on a busy machine
def test_two_processes_leave_the_model_of_one(tmp_path: Path) -> None:
    """Sums in another order agree to about 1e-6, not to the bit. What is done already is not done again."""
    build_pipeline(tmp_path / "base")
    build_dataset(tmp_path / "data", 8)
    job = {
        "model": str(tmp_path / "base"),
        "training_data": str(tmp_path / "data"),
        "method": {"type": "spin", "spin": {"hyperparameters": SETTINGS}},
    }
    config = tmp_path / "job.yaml"
    config.write_text(yaml.safe_dump(job))
    run_job(read_job(config), tmp_path / "one", Silent(), Stop())
    for done in ("encoded", "evaluation-base", "iteration-01/evaluation"):
        shutil.copytree(tmp_path / "one" / "work" / done, tmp_path / "two" / "work" / done)
    command = [sys.executable, str(ROOT / "examples" / "paper" / "run.py"), str(config)]
    command += ["--out", str(tmp_path / "two"), "--gpus", "2", "--precision", "no"]
    environment = os.environ | {"ACCELERATE_USE_CPU": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[-1] == str(tmp_path / "two" / "model")
    shards = [
        json.loads(path.read_text())
        for path in sorted((tmp_path / "two" / "work" / "iteration-01" / "rivals").glob("rivals-*.json"))
    ]
    assert [(one["shard"], one["shards"], one["pairs"]) for one in shards] == [(0, 2, 4), (1, 2, 4)]
    unet = "model/unet/diffusion_pytorch_model.safetensors"
    one, two = (load_file(tmp_path / name / unet) for name in ("one", "two"))
    base = load_file(tmp_path / "base" / "unet" / "diffusion_pytorch_model.safetensors")
    assert any((one[name] - base[name]).abs().max() > 1e-4 for name in one)
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, atol=2e-5, rtol=1e-4)
