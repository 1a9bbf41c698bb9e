"""What a job will need: memory of each training device, disk, and time on this machine.

Memory: what training holds is counted from the headers of the base's files, what a step adds on fake tensors
(``activations``), so that no weights are loaded. Disk is counted. Time is a few measured passes times how
often they are done (``pace``), so the base is loaded for that, and the result holds for this machine alone.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from spin_engine import footprint, pace
from spin_engine.activations import Pass, step_bytes
from spin_engine.config import JobConfig
from spin_engine.data import rows as rows_of
from spin_engine.device import accelerator
from spin_engine.families.loader import load
from spin_engine.footprint import Disk, Held
from spin_engine.hyperparameters import Hyperparameters
from spin_engine.job import KEPT_CHECKPOINTS
from spin_engine.pace import Paces, Seconds
from spin_engine.pipelines import folder_of
from spin_engine.sampler import contrasts
from spin_engine.sizes import PipelineSize, of_pipeline, text_shapes

THOUSAND = 1000


@dataclass(frozen=True)
class Memory:
    """What one training process needs on its device, in bytes; libraries and their workspaces left out."""

    held: Held
    step: int
    """What a step adds at its peak: batch, activations, transients, without gradients."""
    saving: int
    """What writing a checkpoint adds, when activations and gradients are gone."""

    @property
    def peak(self) -> int:
        """The most at one time."""
        held = self.held
        return held.between_steps + max(held.gradients + self.step, self.saving)


@dataclass(frozen=True)
class Estimate:
    """What a job needs."""

    rows: int
    memory: Memory
    disk: Disk
    paces: Paces | None
    """Measured on this device; None if nothing was to be measured."""
    seconds: Seconds | None

    def as_json(self) -> dict[str, Any]:
        """Return bytes and seconds."""
        found = asdict(self)
        found["memory"]["peak"] = self.memory.peak
        found["disk"]["total"] = self.disk.total
        if self.seconds is not None:
            found["seconds"]["total"] = self.seconds.total
        return found

    def table(self) -> str:
        """Return lines for a person."""
        held = self.memory.held
        lines = ["memory of each training device"]
        lines += [_line(name.replace("_", " "), _bytes(size)) for name, size in asdict(held).items() if size]
        lines += [_line("a step adds", _bytes(self.memory.step)), _line("peak", _bytes(self.memory.peak))]
        lines += ["", f"disk, {self.rows} captioned pictures"]
        lines += [_line(name, _bytes(size)) for name, size in asdict(self.disk).items() if size]
        lines += [_line("total", _bytes(self.disk.total))]
        if self.seconds is not None:
            lines += ["", "time at this machine's pace"]
            lines += [_line(name, _time(took)) for name, took in asdict(self.seconds).items()]
            lines += [_line("total", _time(self.seconds.total))]
        return "\n".join(lines)


def estimate(
    job: JobConfig, *, rows: int | None = None, processes: int = 1, measured: bool = True
) -> Estimate:
    """Return what a job needs on the device that this process would train on.

    Args:
        job: what to do.
        rows: captioned pictures of the training data; None: count them.
        processes: that train, each on a device of its own.
        measured: whether to measure paces; else the time stays unknown and no weights are loaded.

    Raises:
        ValueError: the base or the data cannot be had.
    """
    base = folder_of(job.model)
    size = of_pipeline(base)
    if size is None:
        raise ValueError(f"{job.model} holds no pipeline whose size can be read: safetensors are expected")
    chosen = job.method.hyperparameters
    plans = [chosen.for_iteration(iteration) for iteration in chosen.iterations]
    losers = any(plan.rivals == "given" for plan in plans)
    count = sum(1 for _ in rows_of(job.training_data)) if rows is None else rows
    pairs = any(plan.rivals != "none" for plan in plans)
    each = _pass(base, size, chosen, pairs=pairs, processes=processes)
    device = accelerator()
    passes = -(-chosen.batch_size * (2 if pairs else 1) // (processes * each.samples))
    precision = device.mixed_precision
    held = footprint.held(size, chosen)
    beside = step_bytes(base, device.device, chosen, each, passes=passes, precision=precision)
    paces = took = None
    if measured:
        paces = pace.measure(base, device.device, chosen, each, precision=precision)
        took = pace.seconds(
            chosen,
            paces,
            rows=count,
            guided=contrasts(load(base), guidance=2.0),
            losers=losers,
            processes=processes,
        )
    return Estimate(
        count,
        Memory(held, step=max(0, beside - held.gradients), saving=held.moments),
        footprint.disk(size, chosen, rows=count, keep=KEPT_CHECKPOINTS, losers=losers),
        paces,
        took,
    )


def _pass(base: Path, size: PipelineSize, chosen: Hyperparameters, *, pairs: bool, processes: int) -> Pass:
    whole = max(1, chosen.batch_size // processes)
    micro = min(chosen.micro_batch_size or whole, whole)
    side = size.latent_side(chosen.resolution)
    return Pass(micro * (2 if pairs else 1), (size.channels, side, side), text_shapes(base))


def _line(name: str, value: str) -> str:
    return f"  {name:<12}{value:>12}"


def _bytes(size: float) -> str:
    unit = "B"
    for larger in ("KB", "MB", "GB", "TB"):
        if size < THOUSAND:
            break
        size, unit = size / THOUSAND, larger
    return f"{size:.1f} {unit}"


def _time(took: float) -> str:
    hours, rest = divmod(round(took), 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {left:02d} s"
