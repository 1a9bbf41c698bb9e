"""What a self-play step costs over the U-Net work that it cannot do without."""

import copy
import io
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import nn
from torch.nn import functional

from bench.measure import Comparison
from spin_engine.batches import Batch, Batches
from spin_engine.data import Row
from spin_engine.device import accelerator
from spin_engine.families.loader import load
from spin_engine.itinerary import Itinerary
from spin_engine.latents import Encoded, encode
from spin_engine.losses import Losses
from spin_engine.objectives.spin import SpinHyperparameters
from spin_engine.policy import trainable
from spin_engine.reporter import Line, Progress
from spin_engine.rivals import Rivals
from spin_engine.selfplay import Drawing, Opponent, generate
from spin_engine.stopping import Stop
from spin_engine.trainer import Trainer

WARM_UP = 2
PLAN: dict[str, Any] = {"n_iterations": 1, "adapter": "full", "learning_rate": 1e-6, "warmup": 0}
COLOURS = ("red", "green", "blue", "orange")


class Quiet:
    """A reporter that nobody listens to."""

    def send(self, line: Line) -> None:
        """Drop the line."""


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


def measure_step(base: Path, work: Path, *, pairs: int, repeats: int) -> Comparison:
    """Compare one self-play step, reference cached, with a bare step on the same 2 x ``pairs`` pictures.

    Ours is everything the trainer does from one step to the next: reading latents, captions, rivals and
    reference errors, noising, forward, backward, clipping, AdamW, readings. The bare one is the same U-Net's
    forward and backward and the same optimiser on tensors that are ready.

    Args:
        base: folder of a pipeline.
        work: an empty folder.
        pairs: captions in a step; each is a dataset picture and a rival.
        repeats: steps that count.
    """
    settings = SpinHyperparameters(**PLAN, steps=repeats + WARM_UP, batch_size=pairs)
    device = accelerator().device
    opponent = load(base, None, device)
    side, count = opponent.resolution, max(pairs, 4)
    folders = {name: work / name for name in ("encoded", "rivals", "checkpoints")}
    for folder in folders.values():
        folder.mkdir(parents=True)
    quiet, stop = Progress(Quiet(), "encode", 10**9), Stop()
    encode(opponent, iter(_rows(side, count)), folders["encoded"], side=side, progress=quiet, stop=stop)
    encoded = Encoded(folders["encoded"])
    plan = settings.for_iteration(1)
    itinerary = Itinerary(0, 1, encoded.layout, plan.steps, pairs, None)
    drawn_for = Batches(opponent, encoded, itinerary, dropout=0.0)
    player = Opponent(opponent, encoded, drawn_for, itinerary, plan=plan, micro_batch=pairs)
    drawing = Drawing(steps=1, guidance=1.0, batch_size=count)
    everyone = list(range(count))
    generate(
        player,
        everyone,
        folders["rivals"],
        shard=0,
        drawing=drawing,
        reporter=Quiet(),
        stop=stop,
    )
    rivals = Rivals(folders["rivals"])
    family = trainable(base, None, device, adapter="full", rank=None, seed=0)
    batches = Batches(family, encoded, itinerary, dropout=0.0)
    looks = itinerary.step(0)
    bare = _bare(copy.deepcopy(family.denoiser), batches.batch(looks, rivals.latents(looks)))
    trainer = Trainer(
        family,
        Losses(family, batches, plan, rivals=rivals, reference=None),
        itinerary,
        plan=plan,
        settings=settings,
        accelerator=accelerator(),
    )
    timer = Interleaver(bare, device)
    timer.start()
    trainer.train(folders["checkpoints"], timer, stop, keep=1)
    return timer.comparison()


def _bare(unet: nn.Module, batch: Batch) -> Callable[[], None]:
    optimizer = torch.optim.AdamW(unet.parameters(), lr=1e-6, fused=True)

    def step() -> None:
        answer = unet(batch.x_t, batch.t, encoder_hidden_states=batch.condition["text"], return_dict=False)[0]
        functional.mse_loss(answer, batch.target).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def _rows(side: int, count: int) -> list[Row]:
    """Return rows of one colour each: what a picture shows changes nothing of the cost."""

    def png(colour: str) -> bytes:
        buffer = io.BytesIO()
        Image.new("RGB", (side, side), colour).save(buffer, "PNG")
        return buffer.getvalue()

    colours = [COLOURS[index % len(COLOURS)] for index in range(count)]
    return [Row(str(index), colour, partial(png, colour)) for index, colour in enumerate(colours)]
