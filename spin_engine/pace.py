"""How long a job's work takes on this device: a few passes are timed, the rest is arithmetic."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from PIL import Image

from spin_engine.activations import Pass, forward_backward
from spin_engine.data import to_pixels
from spin_engine.device import is_out_of_memory
from spin_engine.families.family import Family
from spin_engine.hyperparameters import Hyperparameters, RoundsHyperparameters
from spin_engine.latents import BATCH as ENCODED_AT_A_TIME
from spin_engine.optimizer import Optimizer
from spin_engine.policy import trainable, trained
from spin_engine.sampler import initial_noise, sample

REPEATS = 3
SAMPLED = 8
"""Samples in the sampler step that is timed, at most."""


@dataclass(frozen=True)
class Paces:
    """Measured seconds, each for one."""

    picture: float
    """Picture and caption encoded."""
    sampler_step: float
    """Sampler step of one sample, without guidance."""
    sample: float
    """Sample's forward and backward pass in training."""
    update: float
    """Clipping and optimiser step."""
    decoded: float
    """Latent decoded to a picture."""


@dataclass(frozen=True)
class Seconds:
    """What a job's stages take; metrics' own networks and copying files are left out."""

    encode: float
    generate: float
    train: float
    evaluate: float

    @property
    def total(self) -> float:
        """The sum."""
        return self.encode + self.generate + self.train + self.evaluate


def seconds(
    chosen: Hyperparameters,
    paces: Paces,
    *,
    rows: int,
    guided: bool,
    losers: bool = False,
    processes: int = 1,
) -> Seconds:
    """Return what a job takes: measured paces times how often each thing is done.

    Args:
        chosen: the method's settings.
        paces: measured.
        rows: captioned pictures of the training data.
        guided: whether guidance is a second forward pass in this family.
        losers: whether the data has a second picture of each caption.
        processes: that train; everything else is done by one.
    """
    generate = train = 0.0
    for iteration in chosen.iterations:
        plan = chosen.for_iteration(iteration)
        looks = plan.steps * chosen.batch_size
        samples = looks * (1 if plan.rivals == "none" else 2)
        if plan.rivals == "drawn" and isinstance(chosen, RoundsHyperparameters):
            double = 2 if guided and chosen.rival_guidance != 1 else 1
            generate += min(rows, looks) * chosen.rival_steps * double * paces.sampler_step
        visits = min(looks, min(rows, looks) * (plan.draws or looks))
        if plan.cached or plan.sampler_steps is not None:
            generate += 2 * visits * paces.sampler_step
        train += samples * paces.sample / processes + plan.steps * paces.update
        if plan.reference != "none" and not plan.cached:
            train += samples * paces.sampler_step / processes
    pictures = (1 + len(chosen.iterations)) * chosen.eval_samples * chosen.eval_seeds
    evaluate = 0.0
    for guidance in chosen.eval_guidances:
        double = 2 if guided and guidance != 1 else 1
        evaluate += pictures * (chosen.eval_steps * double * paces.sampler_step + paces.decoded)
    return Seconds(rows * paces.picture * (2 if losers else 1), generate, train, evaluate)


def measure(
    base: Path, device: torch.device, chosen: Hyperparameters, each: Pass, *, precision: str
) -> Paces:
    """Time each kind of work a few times on this device, the first call not counted.

    A pass that does not fit into memory is tried with half its samples: a sample's share is what counts.

    Args:
        base: folder of the pipeline.
        device: where it would train.
        chosen: the method's settings.
        each: the configured pass.
        precision: as accelerate names it.
    """
    family = trainable(base, None, device, adapter=chosen.adapter, rank=chosen.rank, seed=0)
    side = chosen.resolution or family.resolution
    pixels = to_pixels([Image.new("RGB", (side, side), "grey")] * ENCODED_AT_A_TIME)

    def encode() -> None:
        family.encode_text(["a caption"] * ENCODED_AT_A_TIME)
        family.encode_images(pixels)

    family.denoiser.eval()
    count = min(SAMPLED, each.samples)
    sampled = Pass(count, each.shape, each.text)
    steps = 2
    noise = initial_noise(range(count), each.shape)
    condition = sampled.tensors(device)[2]
    picture = _median(encode, device) / ENCODED_AT_A_TIME
    step = _median(lambda: sample(family, condition, None, noise, steps=steps, guidance=1.0), device)
    decoded = _median(lambda: family.decode(noise.to(device)), device) / count
    family.denoiser.train()
    if chosen.gradient_checkpointing:
        family.denoiser.enable_gradient_checkpointing()
    optimizer = Optimizer(trained(family.denoiser), weight_decay=0.0, kind=chosen.optimizer)
    one = _sample(family, each, precision, optimizer)

    def update() -> None:
        optimizer.clip(chosen.max_grad_norm)
        optimizer.step(0.0)

    forward_backward(family, Pass(1, each.shape, each.text), precision=precision)
    kept = [value.grad for value in optimizer.parameters.values()]

    def prepare() -> None:
        for value, gradient in zip(optimizer.parameters.values(), kept, strict=True):
            value.grad = gradient

    took = _median(update, device, before=prepare)
    return Paces(picture, step / steps / count, one, took, decoded)


def _sample(family: Family, each: Pass, precision: str, optimizer: Optimizer) -> float:
    """Return the seconds of one sample's share of a forward and backward pass."""
    samples = each.samples
    while True:
        smaller = Pass(samples, each.shape, each.text)
        try:
            work = partial(forward_backward, family, smaller, precision=precision)
            took = _median(work, family.device)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error) or samples == 1:
                raise
            samples //= 2
        else:
            optimizer.forget()
            return took / samples


def _median(
    work: Callable[[], object], device: torch.device, *, before: Callable[[], None] | None = None
) -> float:
    found = []
    for _ in range(1 + REPEATS):
        if before is not None:
            before()
        _wait(device)
        started = time.perf_counter()
        work()
        _wait(device)
        found.append(time.perf_counter() - started)
    return statistics.median(found[1:])


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
