"""What a self-play step costs over the U-Net work that it cannot do without."""

import copy
import statistics
import time
from collections.abc import Callable
from itertools import cycle
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from bench.diffusion_dpo import DiffusionDpo
from bench.measure import Comparison, compare
from bench.prepared import Prepared, Ready, ready, rows
from spin_engine.batches import Batch
from spin_engine.data import to_pixels
from spin_engine.device import accelerator
from spin_engine.optimizer import Optimizer
from spin_engine.policy import trainable, trained
from spin_engine.reporter import Line
from spin_engine.stopping import Stop
from spin_engine.trainer import Trainer

WARM_UP = 2


class Interleaver:
    """A reporter that times the trainer's steps, and after each a bare one."""

    def __init__(self, bare: Callable[[], object], device: torch.device) -> None:
        """Call ``bare`` after every step."""
        self._bare = bare
        self._device = device
        self._started = 0.0
        self.pairs: list[tuple[float, float]] = []

    def start(self) -> None:
        """Let the next step's time begin."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        self._started = time.perf_counter()

    def send(self, line: Line) -> None:
        """Take a step's end: note its time, and time a bare step."""
        if line["type"] == "metrics":
            before = self._started
            self.start()
            ours, before = self._started - before, self._started
            self._bare()
            self.start()
            self.pairs.append((ours, self._started - before))

    def comparison(self) -> Comparison:
        """Return the medians, without the first steps."""
        pairs = self.pairs[WARM_UP:]
        return Comparison(
            ours=statistics.median(ours for ours, _ in pairs),
            bare=statistics.median(bare for _, bare in pairs),
            ratio=statistics.median(ours / bare for ours, bare in pairs),
        )


def measure_step(made: Prepared, work: Path) -> Comparison:
    """Compare one self-play step, reference cached, with a bare step on the same 2 x pairs pictures.

    Ours is everything the trainer does from one step to the next: reading latents, captions, rivals and
    reference errors, noising, forward, backward, clipping, AdamW, readings. The bare one is the same U-Net's
    forward and backward and the same optimiser on tensors that are ready.

    Args:
        made: prepared for the steps that count and ``WARM_UP`` more.
        work: an empty folder.
    """
    ours = ready(made)
    looks = made.itinerary.step(0)
    batch = ours.batches.batch(looks, ours.rivals.latents(looks))
    return _against(made, ours, _bare(copy.deepcopy(ours.family.denoiser), batch), work)


def measure_dpo(made: Prepared, work: Path) -> Comparison:
    """Compare the same step with one as Diffusion-DPO's scripts do it (see ``diffusion_dpo``).

    Args:
        made: prepared for the steps that count and ``WARM_UP`` more.
        work: an empty folder.
    """
    family = trainable(made.base, None, accelerator().device, adapter="full", rank=None, seed=0)
    baseline = DiffusionDpo(family)
    found = rows(family.resolution, made.settings.batch_size)
    pixels = to_pixels([row.picture() for row in found])
    captions = [row.caption for row in found]
    return _against(made, ready(made), lambda: baseline.step(pixels, pixels, captions), work)


def measure_reference(made: Prepared, *, repeats: int) -> Comparison:
    """Compare a step whose reference was asked beforehand with one that asks it online.

    Both are the losses, their gradients and the optimiser, without the trainer's readings.
    """
    cached, online = (_step(made, ready(made, online=online)) for online in (False, True))
    return compare(cached, online, repeats=repeats, device=accelerator().device)


def _against(made: Prepared, ours: Ready, other: Callable[[], object], work: Path) -> Comparison:
    """Time the trainer's steps, and after each the other."""
    settings = made.settings
    trainer = Trainer(
        ours.family,
        ours.losses,
        made.itinerary,
        plan=settings.for_iteration(1),
        settings=settings,
        accelerator=ours.device,
    )
    timer = Interleaver(other, ours.family.device)
    timer.start()
    trainer.train(work, timer, Stop(), keep=1)
    return timer.comparison()


def _step(made: Prepared, of: Ready) -> Callable[[], None]:
    """Return a function that does the next step of the itinerary, and after the last the first."""
    optimizer = Optimizer(trained(of.family.denoiser), weight_decay=0.01)
    itinerary = made.itinerary
    numbers = cycle(range(itinerary.steps))
    of.family.denoiser.train()

    def step() -> None:
        losses, _ = of.losses.of(itinerary.step(next(numbers)))
        losses.mean().backward()
        optimizer.clip(1.0)
        optimizer.step(1e-6)

    return step


def _bare(unet: nn.Module, batch: Batch) -> Callable[[], None]:
    optimizer = torch.optim.AdamW(unet.parameters(), lr=1e-6, fused=True)

    def step() -> None:
        answer = unet(batch.x_t, batch.t, encoder_hidden_states=batch.condition["text"], return_dict=False)[0]
        functional.mse_loss(answer, batch.target).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step
