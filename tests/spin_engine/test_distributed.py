"""``accelerate launch`` with two processes that talk over gloo gives what one process gives."""

import json
import os
import socket
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
from tests.spin_engine.conftest import method, run
from tests.spin_engine.test_trainer import tensors


def launch(folder: Path, **spec: Any) -> list[dict[str, Any]]:
    """Run a unit by accelerate's launcher and return the lines it told.

    Its own --cpu starts several processes only by MPI; what is launched here runs on the CPU all the same.
    """
    folder.mkdir()
    (folder / "spec.json").write_text(UnitSpec(kind="train", out=folder / "out", **spec).model_dump_json())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    command += ["--num_machines", "1", "--main_process_port", str(port), "--mixed_precision", "no"]
    command += ["--dynamo_backend", "no", "--num_cpu_threads_per_process", "1"]
    command += ["-m", "spin_engine", "unit", str(folder / "spec.json")]
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


def test_weights_that_are_split_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Accelerator, "distributed_type", property(lambda _: DistributedType.FSDP))
    with pytest.raises(ValueError, match="splits the weights between processes"):
        Processes(Accelerator())
