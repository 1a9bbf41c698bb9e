"""The one training loop: whatever the method, an adapter or all weights, one process or several.

Everything random is a pure function of (seed, iteration, pair, visit), so a step needs nothing but the
weights, the optimiser's moments, its own number and what ``trainer.json`` of a checkpoint holds; stopping
anywhere and going on gives the same bits.

When memory runs out in a step, the step is done again with half the micro-batch, which then stays for the
rest of the iteration. The looks and the loss of a step are the same; sums round differently. So bits are
those of a run whose micro-batch changed at the same step: a checkpoint holds the size in force, and going on
from it keeps to it. Cached reference errors were computed at the planned size: theta_k's loss is ln 2 to the
bit at that size, and within 0.5 beta times the float32 rounding of an error (about 1e-6 of it) at another.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from safetensors.torch import load_file, save_file
from torch import Tensor

from spin_engine import checkpoint, watch, weights
from spin_engine.device import is_out_of_memory
from spin_engine.diffusion import derive_seed
from spin_engine.ema import RunningMean
from spin_engine.families.family import Family
from spin_engine.hyperparameters import Hyperparameters, IterationPlan
from spin_engine.itinerary import Itinerary
from spin_engine.loss_scale import LossScale
from spin_engine.losses import Losses
from spin_engine.optimizer import Optimizer, learning_rate
from spin_engine.parallel import Processes
from spin_engine.phases import Stretch
from spin_engine.policy import trained
from spin_engine.reporter import Progress, Reporter, checkpoint_line, message_line, metrics_line
from spin_engine.sharding import gathered, split_like
from spin_engine.stopping import Stop, Stopped
from spin_engine.watch import Watch

PARAMETERS = "parameters.safetensors"


@dataclass(frozen=True)
class StepReading:
    """What one step came to, over all processes."""

    loss: float
    grad_norm: float
    values: dict[str, float]
    stop: bool
    """Whether any process was asked to stop."""


@dataclass(frozen=True)
class State:
    """What a checkpoint holds of the loop beside weights and moments."""

    skipped: int
    """Steps whose loss or gradients were not finite."""
    micro_batch_size: int
    """Captions in one forward pass, halved when memory ran out."""
    loss_scale: LossScale | None
    """For float16."""
    watch: Watch
    """What drift and margin have been."""


class Trainer:
    """One iteration of training."""

    def __init__(
        self,
        family: Family,
        losses: Losses,
        itinerary: Itinerary,
        *,
        plan: IterationPlan,
        settings: Hyperparameters,
        accelerator: Accelerator,
        lineage: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """Prepare; ``family`` is of ``policy.trainable``, ``losses`` of the same; weights get ``lineage``."""
        self._processes = Processes(accelerator)
        self._chunk = itinerary.chunk if settings.aspect_buckets else None
        self._processes.check(settings.batch_size, self._chunk)
        self._unwrapped = family.denoiser
        if settings.gradient_checkpointing:
            self._unwrapped.enable_gradient_checkpointing()
        self._optimizer = Optimizer(
            trained(self._unwrapped), weight_decay=settings.weight_decay, kind=settings.optimizer
        )
        family.denoiser = self._processes.prepare(family.denoiser, self._optimizer)
        family.device = accelerator.device
        if settings.compile:
            family.denoiser = torch.compile(family.denoiser, dynamic=False)
        self._family = family
        self._losses = losses
        self._itinerary = itinerary
        self._plan = plan
        self._settings = settings
        self._lineage = lineage
        decay = settings.ema_decay
        self._mean = None if decay is None else RunningMean(self._optimizer.parameters, decay)
        self._done = 0
        scale = LossScale() if accelerator.mixed_precision == "fp16" else None
        whole = settings.batch_size // self._processes.count
        self._state = State(0, min(settings.micro_batch_size or whole, whole), scale, Watch())

    def resume(self, folder: Path) -> None:
        """Take up the state of a checkpoint; the family must have been loaded with its weights."""
        manifest = checkpoint.verify(folder)
        if manifest.iteration != self._itinerary.iteration:
            raise ValueError(
                f"{folder} is of iteration {manifest.iteration}, not {self._itinerary.iteration}"
            )
        self._optimizer.load(folder / "optimizer.safetensors")
        self._done = manifest.step
        if self._mean is not None:
            for name, tensor in load_file(folder / PARAMETERS).items():
                own = self._optimizer.parameters[name].data
                own.copy_(split_like(tensor, own))
        raw = json.loads((folder / "trainer.json").read_text())
        scale = raw["loss_scale"]
        scale = None if scale is None else LossScale(**scale)
        # The smaller one: since the checkpoint, memory may have run out in a way that only the caller saw.
        micro = min(raw["micro_batch_size"], self._state.micro_batch_size)
        self._state = State(raw["skipped"], micro, scale, Watch(**raw["watch"]))

    def save_weights(self, folder: Path) -> None:
        """Write the weights as they are now: their running mean, if there is one.

        To be called in all processes; the main one writes.
        """
        about: dict[str, Any] = {"iteration": self._itinerary.iteration, "objective": self._plan.objective}
        if self._state.watch.over is not None:
            about["stopped_early"] = {"step": self._done, "why": self._state.watch.over}
        about["lineage"] = self._lineage
        kind, state = self._settings.adapter, self._published()
        if self._processes.is_main:
            weights.save(self._family.layout, self._unwrapped, folder, kind=kind, about=about, state=state)

    def _published(self) -> dict[str, Tensor] | None:
        """Return what is published, whole, in the main process; None where the denoiser is just that."""
        if self._mean is None and not self._processes.splits:
            return None
        is_full = self._settings.adapter == "full"
        state = self._unwrapped.state_dict() if is_full else dict(self._optimizer.parameters)
        return self._whole(state | ({} if self._mean is None else self._mean.values))

    def _whole(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return gathered(tensors, keep=self._processes.is_main)

    def train(self, checkpoints: Path, reporter: Reporter, stop: Stop, *, keep: int | None) -> None:
        """Train to the last step, or to where the plan's limits end it (``watch``), with a checkpoint there.

        Args:
            checkpoints: folder of checkpoints.
            reporter: hears of steps and checkpoints (in the main process).
            stop: ends training after the step at hand, with a checkpoint.
            keep: how many checkpoints stay; None: all.

        Raises:
            Stopped: training was asked to stop.
            ValueError: too many steps were not finite.
        """
        steps = self._plan.steps
        progress = Progress(reporter, "train", steps, done=self._done)
        self._unwrapped.train()
        stretch = Stretch(reporter, self._done)
        while self._done < steps and self._state.watch.over is None:
            before = self._state.watch
            reading = self._step(self._done, reporter, stop)
            self._done += 1
            self._state = replace(self._state, watch=watch.after(before, reading.values, self._plan.limits))
            if self._processes.is_main:
                self._report(reading, reporter)
                progress.advance()
                for text in watch.told(before, self._state.watch):
                    reporter.send(message_line(text, "warn"))
            last = self._done == steps or self._state.watch.over is not None
            if last or reading.stop or self._done % self._settings.checkpoint_every == 0:
                with stretch.checkpoint(self._done):
                    self._checkpoint(checkpoints, reporter, keep)
            if reading.stop and not last:
                raise Stopped

    def _step(self, step: int, reporter: Reporter, stop: Stop) -> StepReading:
        """Do one optimiser step, or skip it if anything in it is not finite."""
        noted = self._gradients(step, reporter)
        scale = self._state.loss_scale
        norm = self._optimizer.clip(self._settings.max_grad_norm, scale=scale.value if scale else 1.0)
        told = noted.new_tensor([0.0, float(stop.requested)])
        told[0] = norm
        gathered = self._processes.gather(torch.cat([told, noted.flatten()]))
        noted = gathered[:, 2:].reshape(-1, noted.shape[1])
        loss, grad_norm = float(noted[:, 0].mean()), float(gathered[0, 0])
        finite = math.isfinite(loss) and math.isfinite(grad_norm)
        if finite:
            self._optimizer.step(self._rate(step))
            if self._mean is not None:
                self._mean.update(step)
        else:
            self._skip(step, fault_of_scale=math.isfinite(loss) and scale is not None and scale.can_shrink)
        if scale is not None:
            self._state = replace(self._state, loss_scale=scale.after(finite=finite))
        values = self._losses.readings(noted) if finite else {}
        return StepReading(loss, grad_norm, values, stop=bool(gathered[:, 1].any()))

    def _gradients(self, step: int, reporter: Reporter) -> Tensor:
        """Leave a step's gradients in place, averaged, and return what its looks noted, (B / processes, K).

        Half the micro-batch is tried, in all processes, when memory runs out in one.
        """
        while True:
            try:
                noted = self._pass_over(step)
            except (RuntimeError, MemoryError) as error:
                if self._processes.splits or not is_out_of_memory(error):
                    raise  # who holds a part only cannot try again: the others wait for it within a layer
                noted = None
            if not self._processes.any(flag=noted is None):
                break
            self._halve(step, reporter)
        assert noted is not None
        self._processes.average(self._optimizer.gradients())
        return noted

    def _pass_over(self, step: int) -> Tensor:
        """Do a step's forward and backward passes."""
        self._seed(derive_seed(self._itinerary.seed, "step", self._itinerary.iteration, step))
        groups = self._processes.share(self._itinerary.step(step), self._chunk)
        size = self._state.micro_batch_size
        scale = 1.0 if self._state.loss_scale is None else self._state.loss_scale.value
        count = sum(map(len, groups))
        notes = []
        for group in groups:
            for start in range(0, len(group), size):
                losses, noted = self._losses.of(group[start : start + size])
                (losses.sum() / count * scale).backward()
                notes.append(noted)
        return torch.cat(notes)

    def _seed(self, seed: int) -> None:
        """Seed what layers draw from, as ``torch.manual_seed`` does, but only where this process computes.

        Without a GPU that one also notes a call, with its traceback, for every kind of device there might be.
        """
        torch.default_generator.manual_seed(seed)
        if self._processes.device.type == "cuda":
            torch.cuda.manual_seed(seed)

    def _halve(self, step: int, reporter: Reporter) -> None:
        """Go on with half the micro-batch, and say so; MemoryError when there is nothing to halve."""
        self._optimizer.forget()
        if self._processes.device.type == "cuda":
            torch.cuda.empty_cache()
        size = self._state.micro_batch_size
        if size == 1:
            raise MemoryError("memory ran out with one caption in a forward pass: try gradient_checkpointing")
        self._state = replace(self._state, micro_batch_size=(size + 1) // 2)
        if self._processes.is_main:
            text = f"step {step + 1}: memory ran out with {size} captions in a forward pass; going on with "
            reporter.send(message_line(f"{text}{self._state.micro_batch_size}", "warn"))

    def _rate(self, step: int) -> float:
        settings, plan = self._settings, self._plan
        return learning_rate(
            step, steps=plan.steps, peak=plan.learning_rate, warmup=settings.warmup, shape=settings.schedule
        )

    def _skip(self, step: int, *, fault_of_scale: bool) -> None:
        """Leave weights and moments as they are; give up when it happens too often."""
        self._optimizer.forget()
        if fault_of_scale:
            return
        skipped = self._state.skipped + 1
        self._state = replace(self._state, skipped=skipped)
        if skipped > self._settings.max_skipped:
            raise ValueError(
                f"loss or gradients were not finite in {skipped} steps, step {step + 1} the last: "
                "lower learning_rate or beta"
            )

    def _report(self, reading: StepReading, reporter: Reporter) -> None:
        skipped = self._state.skipped
        if not reading.values:
            text = f"step {self._done}: loss or gradients were not finite; skipped ({skipped} so far)"
            reporter.send(message_line(text, "warn"))
            return
        values = {"loss": reading.loss, **reading.values, "grad_norm": reading.grad_norm}
        values |= {"lr": self._rate(self._done - 1), "skipped": float(skipped)}
        reporter.send(metrics_line(self._done, self._itinerary.iteration, values))

    def _checkpoint(self, checkpoints: Path, reporter: Reporter, keep: int | None) -> None:
        """Write a checkpoint in the main process, while the others give their parts of it and wait."""
        if self._processes.is_main:
            iteration = self._itinerary.iteration
            folder = checkpoint.write(checkpoints, step=self._done, iteration=iteration, fill=self._fill)
            if keep is not None:
                checkpoint.prune(checkpoints, keep=keep)
            reporter.send(checkpoint_line(self._done, iteration, folder))
        else:
            self._fill(checkpoints)
        self._processes.wait()

    def _fill(self, folder: Path) -> None:
        """Write what can be published, and what training needs beside it: its own weights, if they differ."""
        self.save_weights(folder / "weights")
        self._save(self._optimizer.moments(), folder / "optimizer.safetensors")
        if self._mean is not None:
            self._save(self._optimizer.parameters, folder / PARAMETERS)
        if self._processes.is_main:
            (folder / "trainer.json").write_text(json.dumps(asdict(self._state)) + "\n")

    def _save(self, tensors: Mapping[str, Tensor], path: Path) -> None:
        found = self._whole(tensors)
        if self._processes.is_main:
            save_file(found, path)
