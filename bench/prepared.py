"""A small data set, its encoding and its rivals, made as a job makes them, for measurements to share."""

import io
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from PIL import Image

from bench.quiet import Quiet
from spin_engine.batches import Batches
from spin_engine.data import Row
from spin_engine.device import accelerator
from spin_engine.families.family import Family
from spin_engine.families.loader import load
from spin_engine.itinerary import Itinerary, itinerary_for
from spin_engine.latents import Encoded, encode
from spin_engine.losses import Losses
from spin_engine.objectives.spin import SpinHyperparameters
from spin_engine.policy import snapshot, trainable
from spin_engine.reporter import Progress
from spin_engine.rivals import Rivals
from spin_engine.selfplay import Drawing, Opponent, generate
from spin_engine.stopping import Stop

PLAN: dict[str, Any] = {"n_iterations": 1, "adapter": "full", "learning_rate": 1e-6, "warmup": 0}
COLOURS = ("red", "green", "blue", "orange")


@dataclass(frozen=True)
class Prepared:
    """What an iteration of self-play trains on."""

    base: Path
    encoded: Path
    rivals: Path
    settings: SpinHyperparameters

    @property
    def itinerary(self) -> Itinerary:
        """Of the iteration."""
        return itinerary_for(self.settings, seed=0, iteration=1, layout=Encoded(self.encoded).layout)


@dataclass(frozen=True)
class Ready:
    """A model that trains, its batches and its losses."""

    family: Family
    batches: Batches
    rivals: Rivals
    losses: Losses
    device: Accelerator


def prepare(base: Path, work: Path, *, pairs: int, steps: int) -> Prepared:
    """Encode a few pictures and draw their rivals.

    Args:
        base: folder of a pipeline.
        work: a folder of its own.
        pairs: captions in a training step.
        steps: optimiser steps.
    """
    settings = SpinHyperparameters(**PLAN, steps=steps, batch_size=pairs)
    made = Prepared(base, work / "encoded", work / "rivals", settings)
    for folder in (made.encoded, made.rivals):
        folder.mkdir(parents=True)
    family = load(base, None, accelerator().device)
    side, count = family.resolution, max(pairs, 4)
    quiet, stop = Progress(Quiet(), "encode", 10**9), Stop()
    encode(family, iter(rows(side, count)), made.encoded, side=side, progress=quiet, stop=stop)
    encoded, itinerary = Encoded(made.encoded), made.itinerary
    plan = settings.for_iteration(1)
    batches = Batches(family, encoded, itinerary, dropout=0.0)
    player = Opponent(family, encoded, batches, itinerary, plan=plan, micro_batch=pairs)
    drawing = Drawing(steps=1, guidance=1.0, batch_size=count)
    everyone = list(range(count))
    generate(player, everyone, made.rivals, shard=0, drawing=drawing, reporter=Quiet(), stop=stop)
    return made


def ready(made: Prepared, *, online: bool = False) -> Ready:
    """Return a fresh model of the base that trains on what was prepared; ``online``: with its reference."""
    device, encoded = accelerator(), Encoded(made.encoded)
    settings = made.settings.model_copy(update={"reference": "online" if online else "cached"})
    family = trainable(made.base, None, device.device, adapter="full", rank=None, seed=0)
    batches = Batches(family, encoded, made.itinerary, dropout=0.0)
    rivals = Rivals(made.rivals)
    losses = Losses(
        family,
        batches,
        settings.for_iteration(1),
        rivals=rivals,
        reference=snapshot(family.denoiser) if online else None,
    )
    return Ready(family, batches, rivals, losses, device)


def png(side: int, colour: str) -> bytes:
    """Return a square of one colour: what a picture shows changes nothing of the cost."""
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(buffer, "PNG")
    return buffer.getvalue()


def rows(side: int, count: int) -> list[Row]:
    """Return rows of one colour each."""
    colours = [COLOURS[index % len(COLOURS)] for index in range(count)]
    return [Row(str(index), colour, partial(png, side, colour)) for index, colour in enumerate(colours)]
