"""Estimates hold against what is measured, and are put together as they say."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.memory import peak_of
from spin_engine.__main__ import main
from spin_engine.activations import Ledger, Pass, step_bytes
from spin_engine.config import JobConfig, SftHyperparameters, SpinHyperparameters
from spin_engine.estimate import estimate
from spin_engine.footprint import disk, held
from spin_engine.pace import Paces, Seconds, seconds
from spin_engine.sizes import PipelineSize, text_shapes
from spin_engine.unit_spec import UnitSpec
from tests.spin_engine.conftest import run
from tests.tiny import build_dataset
from tests.tiny_families import PIPELINES, build

STARTER = Path(__file__).resolve().parents[2] / "examples" / "emoji" / "model"
SIZE = PipelineSize(parameters=1000, per_rank=10, channels=4, factor=8, side=2, text=20, other_bytes=7)
PACES = Paces(picture=1.0, sampler_step=10.0, sample=100.0, update=1000.0, decoded=10_000.0)
CPU = torch.device("cpu")


@pytest.mark.parametrize("adapter", ["full", "lora"])
def test_memory_is_within_a_quarter_of_the_measured_peak(tmp_path: Path, adapter: str) -> None:
    """The largest resident set of a process that trains the starter, less the one before (bench.memory)."""
    data, encoded = tmp_path / "data", tmp_path / "encoded"
    build_dataset(data, 8)
    # The second step of all weights has gradients beside moments; an adapter's are too small to tell.
    steps = 2 if adapter == "full" else 1
    chosen = {"steps": steps, "learning_rate": 1e-5, "batch_size": 64, "adapter": adapter}
    method: Any = {"type": "sft", "sft": {"hyperparameters": chosen}}
    run("encode", encoded, method=method, inputs={"base": STARTER, "data": data})
    inputs = {"base": STARTER, "encoded": encoded}
    spec = UnitSpec(
        kind="train", method=method, seed=0, iteration=1, inputs=inputs, out=tmp_path / "iteration" / "out"
    )
    measured = peak_of(spec)
    job = JobConfig(model=str(STARTER), training_data=str(data), method=method)
    told = estimate(job, measured=False)
    assert told.rows == 8
    assert told.seconds is None
    assert told.memory.peak == pytest.approx(measured, rel=0.25)


def test_the_ledger_counts_what_lives() -> None:
    with Ledger() as ledger:
        first = torch.zeros(1000)
        view = first.view(10, 100)
        second = first + 1
        del first, second
        assert ledger.bytes == 4000  # the view keeps the first
        third = view * 2
        assert ledger.bytes == 8000
        del view, third
    assert (ledger.bytes, ledger.peak) == (0, 8000)


@pytest.mark.parametrize("name", PIPELINES)
def test_a_step_of_every_family_is_known_without_its_weights(tmp_path: Path, name: str) -> None:
    build(name, tmp_path)
    for weights in tmp_path.rglob("*.safetensors"):
        weights.unlink()
    text = text_shapes(tmp_path)
    full, lora = SftHyperparameters(adapter="full"), SftHyperparameters(adapter="lora", rank=2)
    one, four = Pass(1, (4, 8, 8), text), Pass(4, (4, 8, 8), text)
    small = step_bytes(tmp_path, CPU, lora, one, passes=1)
    assert 0 < small < step_bytes(tmp_path, CPU, full, one, passes=1)
    assert small < step_bytes(tmp_path, CPU, lora, four, passes=1)


def test_what_training_holds() -> None:
    """1000 values of 4 bytes: weights, gradients, two moments, a mean, a reference."""
    chosen: dict[str, Any] = {"steps": 1, "adapter": "full", "ema_decay": 0.9, "reference": "online"}
    found = held(SIZE, SpinHyperparameters(n_iterations=1, learning_rate=1e-4, beta=1.0, **chosen))
    sizes = (found.weights, found.gradients, found.moments, found.mean, found.reference)
    assert sizes == (4000, 4000, 8000, 4000, 4000)
    assert found.between_steps == 20_000
    small = held(SIZE, SftHyperparameters(steps=1, rank=2, optimizer="adamw8bit"))
    assert (small.weights, small.gradients, small.moments) == (4080, 80, 40)


def test_what_lies_on_disk_at_most() -> None:
    """Two checkpoints stay and a third is being written, each of weights and two moments."""
    found = disk(SIZE, SftHyperparameters(steps=10, checkpoint_every=1, adapter="full"), rows=10, keep=2)
    assert (found.encoded, found.rivals, found.checkpoints) == (4 * 360, 0, 3 * 12_000)
    assert found.total == 4 * 360 + 36_000 + 4000 + 4007


def test_time_is_measured_paces_times_their_number() -> None:
    """3 steps of 4 pairs, 5 rows: rivals 5 x 6 steps x 2 for guidance, 12 looks of 2 judged."""
    chosen: dict[str, Any] = {"n_iterations": 1, "steps": 3, "learning_rate": 1e-4, "beta": 1.0}
    chosen |= {"batch_size": 4, "rival_steps": 6, "rival_guidance": 2.0}
    chosen |= {"eval_samples": 8, "eval_steps": 7, "eval_guidance": (7.5, 1.0)}
    told = seconds(SpinHyperparameters(**chosen), PACES, rows=5, guided=True)
    evaluate = 2 * 8 * ((14 + 7) * 10.0 + 2 * 10_000.0)
    assert told == Seconds(5.0, (60 + 24) * 10.0, 24 * 100.0 + 3 * 1000.0, evaluate)
    online = seconds(SpinHyperparameters(**chosen, reference="online"), PACES, rows=5, guided=True)
    assert online.generate == 600.0
    assert online.train == told.train + 24 * 10.0
    halved = seconds(SpinHyperparameters(**chosen), PACES, rows=5, guided=True, processes=2)
    assert halved.train == 12 * 100.0 + 3 * 1000.0


def test_the_command_prints_a_table_or_json(
    pipeline: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "job.yaml"
    chosen = {"n_iterations": 1, "steps": 2, "batch_size": 2, "rank": 2, "beta": 1.0}
    method = {"type": "spin", "spin": {"hyperparameters": chosen}}
    config.write_text(json.dumps({"model": str(pipeline), "training_data": "nowhere", "method": method}))
    assert main(["estimate", str(config), "--rows", "4", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    paces = Paces(**told["paces"])
    assert min(told["paces"].values()) > 0
    made = JobConfig.model_validate(json.loads(config.read_text())).method.hyperparameters
    again = seconds(made, paces, rows=4, guided=True)
    assert told["seconds"]["train"] == pytest.approx(again.train)
    assert main(["estimate", str(config), "--rows", "4", "--no-time"]) == 0
    shown = capsys.readouterr().out
    assert "peak" in shown
    assert "time" not in shown


def test_a_job_whose_data_is_not_here_is_a_users_mistake(
    pipeline: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "job.yaml"
    config.write_text(f"model: {pipeline}\ntraining_data: {tmp_path}/none\nmethod: {{type: sft}}\n")
    assert main(["estimate", str(config), "--no-time"]) == 65
    assert "user error" in capsys.readouterr().err
