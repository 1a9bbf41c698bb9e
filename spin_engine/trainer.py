"""The one training loop: supervised or self-play, an adapter or all weights, one process or several.

Everything random is a pure function of (seed, iteration, pair, visit), so a step needs nothing but the
weights, the optimiser's moments and its own number; stopping anywhere and going on gives the same bits.
"""

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator

from spin_engine import checkpoint, weights
from spin_engine.diffusion import derive_seed
from spin_engine.families.family import Family
from spin_engine.hyperparameters import Hyperparameters, IterationPlan
from spin_engine.itinerary import Itinerary, Look
from spin_engine.losses import Losses
from spin_engine.optimizer import Optimizer, learning_rate
from spin_engine.reporter import Progress, Reporter, checkpoint_line, message_line, metrics_line
from spin_engine.stopping import Stop, Stopped

MOST_SKIPPED = 10


@dataclass(frozen=True)
class StepReading:
    """What one step came to, over all processes."""

    loss: float
    grad_norm: float
    values: dict[str, float]
    stop: bool
    """Whether any process was asked to stop."""


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
    ) -> None:
        """Prepare; ``family`` comes from ``policy.trainable``, and ``losses`` is of the same family."""
        if settings.batch_size % accelerator.num_processes:
            raise ValueError(f"batch_size must be a multiple of the {accelerator.num_processes} processes")
        self._unwrapped = family.denoiser
        family.denoiser = accelerator.prepare_model(family.denoiser)
        self._family = family
        self._losses = losses
        self._itinerary = itinerary
        self._plan = plan
        self._settings = settings
        self._accelerator = accelerator
        self._optimizer = Optimizer(self._unwrapped, weight_decay=settings.weight_decay)
        self._done = 0
        self._skipped = 0

    def resume(self, folder: Path) -> None:
        """Take up the state of a checkpoint; the family must have been loaded with its weights."""
        manifest = checkpoint.verify(folder)
        if manifest.iteration != self._itinerary.iteration:
            raise ValueError(
                f"{folder} is of iteration {manifest.iteration}, not {self._itinerary.iteration}"
            )
        self._optimizer.load(folder / "optimizer.safetensors")
        self._done = manifest.step
        self._skipped = json.loads((folder / "trainer.json").read_text())["skipped"]

    def save_weights(self, folder: Path) -> None:
        """Write the weights as they are now."""
        about = {"iteration": self._itinerary.iteration, "objective": self._plan.objective}
        weights.save(self._unwrapped, folder, kind=self._settings.adapter, about=about)

    def train(self, checkpoints: Path, reporter: Reporter, stop: Stop, *, keep: int | None) -> None:
        """Train to the last step, with a checkpoint there.

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
        while self._done < steps:
            reading = self._step(self._done, stop)
            self._done += 1
            if self._accelerator.is_main_process:
                self._report(reading, reporter)
                progress.advance()
            last = self._done == steps
            if last or reading.stop or self._done % self._settings.checkpoint_every == 0:
                self._checkpoint(checkpoints, reporter, keep)
            if reading.stop and not last:
                raise Stopped

    def _step(self, step: int, stop: Stop) -> StepReading:
        """Do one optimiser step, or skip it if anything in it is not finite."""
        torch.manual_seed(derive_seed(self._itinerary.seed, "step", self._itinerary.iteration, step))
        accelerator, settings = self._accelerator, self._settings
        mine = self._itinerary.step(step)[accelerator.process_index :: accelerator.num_processes]
        notes = []
        for looks, last in _portions(mine, settings.micro_batch_size or settings.batch_size):
            with nullcontext() if last else accelerator.no_sync(self._family.denoiser):
                losses, noted = self._losses.of(looks)
                accelerator.backward(losses.sum() / len(mine))
            notes.append(noted)
        norm = self._optimizer.clip(settings.max_grad_norm)
        gathered = accelerator.gather(torch.cat(notes)).cpu()
        asked = torch.tensor([float(norm), float(stop.requested)], device=accelerator.device)
        asked = accelerator.gather(asked[None]).cpu()
        loss, grad_norm = float(gathered[:, 0].mean()), float(asked[0, 0])
        finite = math.isfinite(loss) and math.isfinite(grad_norm)
        if finite:
            self._optimizer.step(self._rate(step))
        else:
            self._skip(step)
        values = self._losses.readings(gathered) if finite else {}
        return StepReading(loss, grad_norm, values, stop=bool(asked[:, 1].any()))

    def _rate(self, step: int) -> float:
        settings, plan = self._settings, self._plan
        return learning_rate(
            step, steps=plan.steps, peak=plan.learning_rate, warmup=settings.warmup, shape=settings.schedule
        )

    def _skip(self, step: int) -> None:
        """Leave weights and moments as they are; give up when it happens too often."""
        self._optimizer.forget()
        self._skipped += 1
        if self._skipped > MOST_SKIPPED:
            raise ValueError(
                f"loss or gradients were not finite in {self._skipped} steps, step {step + 1} the last: "
                "lower learning_rate or beta"
            )

    def _report(self, reading: StepReading, reporter: Reporter) -> None:
        if not reading.values:
            text = f"step {self._done}: loss or gradients were not finite; skipped ({self._skipped} so far)"
            reporter.send(message_line(text, "warn"))
            return
        values = {"loss": reading.loss, **reading.values, "grad_norm": reading.grad_norm}
        values |= {"lr": self._rate(self._done - 1), "skipped": float(self._skipped)}
        reporter.send(metrics_line(self._done, self._itinerary.iteration, values))

    def _checkpoint(self, checkpoints: Path, reporter: Reporter, keep: int | None) -> None:
        """Write a checkpoint in the main process, while the others wait."""
        if self._accelerator.is_main_process:
            iteration = self._itinerary.iteration
            folder = checkpoint.write(checkpoints, step=self._done, iteration=iteration, fill=self._fill)
            if keep is not None:
                checkpoint.prune(checkpoints, keep=keep)
            reporter.send(checkpoint_line(self._done, iteration, folder))
        self._accelerator.wait_for_everyone()

    def _fill(self, folder: Path) -> None:
        self.save_weights(folder / "weights")
        self._optimizer.save(folder / "optimizer.safetensors")
        (folder / "trainer.json").write_text(json.dumps({"skipped": self._skipped}) + "\n")


def _portions(looks: Sequence[Look], size: int) -> Iterator[tuple[Sequence[Look], bool]]:
    """Yield a step's looks in micro-batches, each with whether it is the last."""
    for start in range(0, len(looks), size):
        yield looks[start : start + size], start + size >= len(looks)
