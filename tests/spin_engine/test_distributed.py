"""Two processes that talk over gloo give what one process gives, by our launcher and by accelerate's."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from torch import Tensor

from spin_engine import weights
from spin_engine.itinerary import Look
from spin_engine.parallel import PIECE, Processes
from spin_engine.unit_spec import UnitSpec
from tests.services import free_ports
from tests.spin_engine.conftest import method, run
from tests.spin_engine.test_trainer import tensors

FSDP = ("--use_fsdp", "--fsdp_version", "2", "--fsdp_auto_wrap_policy", "TRANSFORMER_BASED_WRAP")


def launch(folder: Path, *how: str, module: str | None = None, **spec: Any) -> list[dict[str, Any]]:
    """Run a unit by our launcher, or a module by accelerate's, and return the lines it told.

    Its own --cpu starts several processes only by MPI; what is launched here runs on the CPU all the same.
    """
    folder.mkdir()
    (folder / "spec.json").write_text(UnitSpec(kind="train", out=folder / "out", **spec).model_dump_json())
    [port] = free_ports(1)
    if module is None:
        command = [sys.executable, "-m", "spin_engine", "launch", "--processes", "2", "--port", str(port)]
    else:
        command = [sys.executable, "-m", "accelerate.commands.launch", "--num_processes", "2"]
        command += ["--num_machines", "1", "--main_process_port", str(port), "--mixed_precision", "no"]
        command += ["--dynamo_backend", "no", "--num_cpu_threads_per_process", "1"]
        command += [*how, "-m", module, "unit"]
    command.append(str(folder / "spec.json"))
    own = os.environ | {"ACCELERATE_USE_CPU": "1", "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(command, capture_output=True, text=True, timeout=250, env=own, check=False)
    assert ran.returncode == 0, ran.stderr[-3000:]
    return [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")]


def test_two_processes_give_the_weights_of_one(
    pipeline: Path, encoded: Path, rivals: Path, tmp_path: Path
) -> None:
    """Self-play with the same global batch of four: errors within 1e-5, weights within 2e-5 + 1e-4 of them.

    Sums are taken in another order, and AdamW divides by the root of a mean square, which for an entry whose
    gradient is near zero amplifies what rounding left.
    """
    spec = {
        "method": method(steps=3, adapter="full", rank=None, learning_rate=1e-4, gate=True),
        "seed": 5,
        "iteration": 1,
        "inputs": {"base": pipeline, "encoded": encoded, "rivals": rivals},
    }
    lines = launch(tmp_path / "two", **spec)
    alone = run("train", tmp_path / "one" / "out", **spec)
    found = [line["values"] for line in lines if line["type"] == "metrics"]
    assert found[0]["loss"] == torch.tensor(2.0).log().item()
    assert [one["winner_error"] for one in found] == pytest.approx(alone.values("winner_error"), abs=1e-5)
    assert [one["loss"] for one in found] == pytest.approx(alone.values("loss"), abs=1e-3)
    verdicts = [weights.about(tmp_path / name / "out" / "weights")["gate"] for name in ("one", "two")]
    assert verdicts[0]["accepted"]
    assert verdicts[1] == pytest.approx(verdicts[0], rel=1e-2, abs=1e-5)
    one, two = (tensors(tmp_path / name / "out") for name in ("one", "two"))
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, atol=2e-5, rtol=1e-4)


class Second:
    """Stands where accelerate would, in process 1 of two."""

    distributed_type = DistributedType.MULTI_CPU
    device = torch.device("cpu")
    num_processes = 2
    process_index = 1
    is_main_process = False

    def reduce(self, tensor: Tensor, reduction: str) -> Tensor:
        """Return the mean over two processes, the other of which has zeros."""
        assert reduction == "mean"
        assert tensor.numel() <= PIECE
        return tensor / 2


def test_looks_are_shared_out_evenly() -> None:
    looks = [Look(pair, 0) for pair in range(8)]
    processes = Processes(Second())
    assert processes.share(looks, None) == [[looks[i] for i in (1, 3, 5, 7)]]
    assert processes.share(looks, 2) == [looks[2:4], looks[6:8]]
    assert processes.share(looks, 8) == [[looks[i] for i in (1, 3, 5, 7)]]
    processes.check(8, None)
    processes.check(8, 2)
    with pytest.raises(ValueError, match="multiple of the 2 processes"):
        processes.check(7, None)
    processes.count = 4
    with pytest.raises(ValueError, match="multiple of the processes"):
        processes.check(12, 6)


def test_gradients_are_averaged_piece_by_piece() -> None:
    gradients = [torch.full((PIECE // 2 + 1,), 2.0), torch.full((3, 2), 4.0), torch.full((PIECE,), 6.0)]
    Processes(Second()).average(gradients)
    assert [float(one.flatten()[-1]) for one in gradients] == [1.0, 2.0, 3.0]
    assert gradients[1].shape == (3, 2)


@pytest.mark.parametrize("adapter", ["full", "lora"])
def test_split_weights_give_the_weights_of_one(
    adapter: str, pipeline: Path, encoded: Path, rivals: Path, tmp_path: Path
) -> None:
    """FSDP over two processes, with a running mean, killed by nobody but gone on from a checkpoint by one."""
    rank = 2 if adapter == "lora" else None
    settings = {"adapter": adapter, "rank": rank, "learning_rate": 1e-4, "ema_decay": 0.9}
    spec = {
        "method": method(steps=4, checkpoint_every=2, **settings),
        "seed": 5,
        "iteration": 1,
        "inputs": {"base": pipeline, "encoded": encoded, "rivals": rivals},
    }
    lines = launch(tmp_path / "two", *FSDP, module="tests.spin_engine.sharded", **spec)
    alone = run("train", tmp_path / "one" / "out", **spec)
    found = [line["values"] for line in lines if line["type"] == "metrics"]
    assert [one["winner_error"] for one in found] == pytest.approx(alone.values("winner_error"), abs=1e-5)
    assert [one["grad_norm"] for one in found] == pytest.approx(alone.values("grad_norm"), rel=1e-3)
    halfway = tmp_path / "two" / "checkpoints" / "step-00000002"
    run("train", tmp_path / "resumed" / "out", resume=halfway, **spec)
    one = tensors(tmp_path / "one" / "out")
    for other in ("two", "resumed"):
        for name, tensor in tensors(tmp_path / other / "out").items():
            torch.testing.assert_close(tensor, one[name], atol=2e-5, rtol=1e-4)


def test_engines_with_a_loop_of_their_own_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in (DistributedType.DEEPSPEED, DistributedType.MEGATRON_LM):
        monkeypatch.setattr(Accelerator, "distributed_type", property(lambda _, kind=kind: kind))
        with pytest.raises(ValueError, match="use_fsdp with fsdp_version 2"):
            Processes(Accelerator())


def test_online_references_are_refused_where_weights_are_split(
    pipeline: Path, encoded: Path, rivals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Accelerator, "distributed_type", property(lambda _: DistributedType.FSDP))
    settings = method(steps=1, reference="online", adapter="full", rank=None)
    inputs = {"base": pipeline, "encoded": encoded, "rivals": rivals}
    with pytest.raises(ValueError, match='has to be "cached"'):
        run("train", tmp_path / "out", method=settings, seed=5, iteration=1, inputs=inputs)
    assert not (tmp_path / "checkpoints").exists()
