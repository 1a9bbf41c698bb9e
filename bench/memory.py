"""How much memory a training unit takes, in a process of its own: ``python -m bench.memory SPEC.json``.

On a GPU: what torch's allocator held at most. On a CPU, under Linux: the process's largest resident set less
the one before the unit began, after one step of one sample whose tensors are gone: libraries do not count,
what they keep to work with does.
"""

import gc
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bench.prepared import Prepared
from bench.quiet import Quiet
from spin_engine.activations import Pass, forward_backward
from spin_engine.device import accelerator
from spin_engine.optimizer import Optimizer
from spin_engine.policy import trainable, trained
from spin_engine.sizes import text_shapes
from spin_engine.stopping import Stop
from spin_engine.unit import run_unit
from spin_engine.unit_spec import UnitSpec

STATUS = Path("/proc/self/status")
PEAK = Path("/proc/self/clear_refs")
"""Where writing 5 makes the largest resident set the present one."""
PROMPTLY = {"MALLOC_TRIM_THRESHOLD_": "0", "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1"}
"""Lets the C library return freed memory at once: what counts is what is in use."""


def peak_of(spec: UnitSpec, *, threads: int | None = None) -> int:
    """Run a unit in a process of its own and return the bytes that it added at its peak."""
    spec.out.mkdir(parents=True, exist_ok=True)
    path = spec.out.with_name(f"{spec.out.name}.json")
    path.write_text(spec.model_dump_json())
    environment = os.environ | PROMPTLY | ({} if threads is None else {"OMP_NUM_THREADS": str(threads)})
    ran = subprocess.run(
        [sys.executable, "-m", "bench.memory", str(path)],
        check=True,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    return int(ran.stdout.splitlines()[-1])


@dataclass(frozen=True)
class Peaks:
    """Bytes that training all weights adds to a process at its peak."""

    cached: int
    """Self-play, its reference asked beforehand."""
    online: int
    """Self-play that keeps a reference."""
    supervised: int
    """Supervised fine-tuning on as many pictures, two for each pair."""


def full_fine_tunes(made: Prepared, work: Path, *, steps: int) -> Peaks:
    """Measure three trainings of all weights on the same pictures, each in a process of its own."""
    return Peaks(
        cached=full_fine_tune(made, work / "cached", reference="cached", steps=steps),
        online=full_fine_tune(made, work / "online", reference="online", steps=steps),
        supervised=full_fine_tune(made, work / "supervised", reference=None, steps=steps),
    )


def full_fine_tune(made: Prepared, work: Path, *, reference: str | None, steps: int) -> int:
    """Return the bytes at the peak of one training: of self-play with a reference, or supervised without."""
    pairs = made.settings.batch_size
    chosen: dict[str, Any] = {"steps": steps, "learning_rate": 1e-6, "adapter": "full", "warmup": 0}
    chosen |= {"batch_size": 2 * pairs if reference is None else pairs}
    inputs = {"base": made.base, "encoded": made.encoded}
    if reference is not None:
        chosen |= {"n_iterations": 1, "reference": reference}
        inputs |= {"rivals": made.rivals}
    kind = "sft" if reference is None else "spin"
    method: Any = {"type": kind, kind: {"hyperparameters": chosen}}
    spec = UnitSpec(kind="train", method=method, seed=0, iteration=1, inputs=inputs, out=work / "out")
    return peak_of(spec)


def main() -> None:
    """Run the unit and print its peak."""
    spec = UnitSpec.model_validate(json.loads(Path(sys.argv[1]).read_text()))
    _warm_up(spec)
    before = _kilobytes("VmRSS")
    PEAK.write_text("5")
    run_unit(spec, Quiet(), Stop(), keep=1)
    if torch.cuda.is_available():
        print(torch.cuda.max_memory_allocated())
    else:
        print(1024 * (_kilobytes("VmHWM") - before))


def _warm_up(spec: UnitSpec) -> None:
    """Do a step of one sample, so that code and tables that stay are there; let its tensors go."""
    settings = spec.method.hyperparameters
    device = accelerator().device
    base = spec.inputs["base"]
    family = trainable(base, None, device, adapter=settings.adapter, rank=settings.rank, seed=0)
    family.denoiser.train()
    forward_backward(
        family, Pass(1, family.latent_shape(family.resolution, family.resolution), text_shapes(base))
    )
    optimizer = Optimizer(trained(family.denoiser), weight_decay=0.0)
    optimizer.clip(1.0)
    optimizer.step(0.0)
    del family, optimizer
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def _kilobytes(name: str) -> int:
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1])


if __name__ == "__main__":
    main()
