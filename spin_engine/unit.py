"""One work unit in this process: run its stage, and tell failures apart."""

import functools
import os
from collections.abc import Callable
from typing import Literal

import torch

from spin_engine.device import is_out_of_memory
from spin_engine.disk import is_disk_full
from spin_engine.rendezvous import is_loss_of_peers
from spin_engine.reporter import Reporter
from spin_engine.stages import encode, evaluate, generate, publish, train
from spin_engine.stopping import Stop
from spin_engine.unit_spec import CRASH, DATA_ERROR, OUT_OF_MEMORY, PEERS_LOST, Kind, UnitSpec

Reason = Literal["user_error", "out_of_memory", "device_lost", "disk_full", "worker_lost", "internal"]
EXIT_CODES: dict[Reason, int] = {
    "user_error": DATA_ERROR,
    "out_of_memory": OUT_OF_MEMORY,
    "device_lost": CRASH,
    "disk_full": CRASH,
    "worker_lost": PEERS_LOST,
    "internal": CRASH,
}


def run_unit(spec: UnitSpec, reporter: Reporter, stop: Stop, *, keep: int | None = None) -> None:
    """Run a unit: folders in, ``spec.out`` out.

    Args:
        spec: what to do.
        reporter: hears of it.
        stop: ends it early where it can be taken up again.
        keep: how many training checkpoints stay; None: all.

    Raises:
        Stopped: it was asked to stop.
        ValueError: the user's mistake.
    """
    stages: dict[Kind, Callable[[UnitSpec, Reporter, Stop], None]] = {
        "encode": encode.run,
        "generate": generate.run,
        "train": functools.partial(train.run, keep=keep),
        "evaluate": evaluate.run,
        "publish": publish.run,
    }
    if spec.kind != "train" and os.environ.get("WORLD_SIZE", "1") != "1":
        raise ValueError(f"{spec.kind} runs in one process; only train runs in several")
    spec.out.mkdir(parents=True, exist_ok=True)
    stages[spec.kind](spec, reporter, stop)


def reason_of(error: BaseException) -> Reason:
    """Return why a unit failed."""
    if is_out_of_memory(error):
        return "out_of_memory"
    if is_loss_of_peers(error):
        return "worker_lost"
    if isinstance(error, torch.AcceleratorError) or "CUDA error" in str(error) or "NCCL error" in str(error):
        return "device_lost"
    if is_disk_full(error):
        return "disk_full"
    return "user_error" if isinstance(error, ValueError) else "internal"
