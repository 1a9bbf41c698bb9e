"""``train``: one iteration, from theta_k to theta_k+1, or back to theta_k if that is better (``gate``)."""

import shutil
import tempfile
import time
from itertools import islice
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor

from spin_engine import gate, latents, lineage
from spin_engine import weights as weights_folder
from spin_engine.batches import Batches
from spin_engine.data import rows
from spin_engine.device import accelerator
from spin_engine.families.family import Family
from spin_engine.families.loader import load
from spin_engine.gate import Verdict
from spin_engine.hyperparameters import IterationPlan, RoundsHyperparameters
from spin_engine.itinerary import itinerary_for
from spin_engine.latents import Encoded
from spin_engine.losses import Losses
from spin_engine.parallel import splits
from spin_engine.phases import phase, span_line
from spin_engine.policy import snapshot, trainable
from spin_engine.reporter import Progress, Reporter, message_line
from spin_engine.rivals import rivals_for
from spin_engine.selfplay import drawing_of
from spin_engine.stopping import Stop
from spin_engine.trainer import Trainer
from spin_engine.unit_spec import UnitSpec


def run(spec: UnitSpec, reporter: Reporter, stop: Stop, *, keep: int | None = None) -> None:
    """Read ``base``, ``weights`` (none: the base), ``encoded``, ``rivals``; write ``weights/`` into ``out``.

    ``reference``: the weights of an online reference that is not theta_k (see ``Hyperparameters.opponent``).
    ``validation``: what a gate compares on; else it is the training data.
    Checkpoints go to ``checkpoints/`` beside ``out``; ``keep`` is how many stay, None for all.
    """
    device = accelerator()
    encoded = Encoded(spec.place("encoded"), open_shards=spec.method.hyperparameters.shuffle_window)
    _train(spec, encoded, device, reporter, stop, keep)
    if spec.plan.gated and device.is_main_process:
        with phase(reporter, "gate"):
            _keep_the_better(spec, encoded, device, reporter, stop)


def _train(
    spec: UnitSpec,
    encoded: Encoded,
    device: Accelerator,
    reporter: Reporter,
    stop: Stop,
    keep: int | None,
) -> None:
    """Write theta_k+1; nothing of it stays in memory."""
    began = time.time_ns()
    settings, plan = spec.method.hyperparameters, spec.plan
    itinerary = itinerary_for(settings, seed=spec.seed, iteration=spec.iteration, layout=encoded.layout)
    start = spec.inputs.get("weights")
    family = _policy(spec, spec.resume / "weights" if spec.resume else start, device)
    batches = Batches(
        family, encoded, itinerary, dropout=settings.prompt_dropout, sampler_steps=plan.sampler_steps
    )
    losses = Losses(
        family,
        batches,
        plan,
        rivals=rivals_for(plan, itinerary, encoded=encoded, folder=spec.inputs.get("rivals")),
        reference=_reference(spec, plan, family, device),
    )
    came_from = []
    if device.is_main_process:
        came_from = lineage.extended(spec, plan, denoiser=family.layout.subfolder, encoded=encoded.key)
    trainer = Trainer(
        family, losses, itinerary, plan=plan, settings=settings, accelerator=device, lineage=came_from
    )
    if spec.resume is not None:
        trainer.resume(spec.resume)
    if device.is_main_process:
        reporter.send(span_line("load", began))
    trainer.train(spec.out.parent / "checkpoints", reporter, stop, keep=keep)
    with phase(reporter, "save"):
        trainer.save_weights(spec.out / "weights")


def _policy(spec: UnitSpec, weights: Path | None, device: Accelerator) -> Family:
    """Return theta, on the device, or where it is whole before it is split."""
    settings = spec.method.hyperparameters
    return trainable(
        spec.inputs["base"],
        weights,
        torch.device("cpu") if splits(device) else device.device,
        adapter=settings.adapter,
        rank=settings.rank,
        seed=spec.seed,
    )


def _reference(
    spec: UnitSpec, plan: IterationPlan, family: Family, device: Accelerator
) -> dict[str, Tensor] | None:
    """Return the trainable parameters of the reference, if training is to ask it."""
    if plan.reference == "none" or plan.cached:
        return None
    if splits(device):
        raise ValueError('reference="online" swaps whole weights; with FSDP it has to be "cached"')
    settings = spec.method.hyperparameters
    if plan.judge == "base":
        whose = spec.inputs.get("reference")
        is_start = spec.iteration == settings.iterations[0]
    else:
        is_start = settings.opponent(spec.iteration, seed=spec.seed) == spec.iteration - 1
        whose = spec.inputs.get("weights" if is_start else "reference")
    asked = family if is_start and spec.resume is None else _policy(spec, whose, device)
    return snapshot(asked.denoiser)


def _keep_the_better(
    spec: UnitSpec, encoded: Encoded, device: Accelerator, reporter: Reporter, stop: Stop
) -> None:
    """Note in ``weights/`` how theta_k+1 did against theta_k, and put theta_k in its place if it lost.

    What stands there after a kill is of no account: the next attempt writes theta_k+1 anew from its last
    checkpoint, and everything here follows from weights, data and seed.
    """
    with tempfile.TemporaryDirectory(prefix="spindle-gate-") as folder:
        shown = _shown(spec, encoded, Path(folder), device, reporter, stop)
        found = _compared(spec, shown, device, reporter, stop)
    made = spec.out / "weights"
    about = weights_folder.about(made) | {"gate": found.as_json()}
    last = spec.iteration - 1
    numbers = f"{found.after:.6g} against {found.before:.6g} over {found.captions} captions"
    if found.accepted:
        weights_folder.describe(made, about)
        reporter.send(message_line(f"iteration {spec.iteration} passes the gate: {numbers}"))
        return
    family = _policy(spec, spec.inputs.get("weights"), device)
    shutil.rmtree(made)
    kind = spec.method.hyperparameters.adapter
    weights_folder.save(family.layout, family.denoiser, made, kind=kind, about=about | {"kept": last})
    whose = f"iteration {last}" if "weights" in spec.inputs else "the base"
    text = f"iteration {spec.iteration} loses at the gate, and the weights of {whose} are kept: {numbers}"
    reporter.send(message_line(text, "warn"))


def _shown(
    spec: UnitSpec, encoded: Encoded, folder: Path, device: Accelerator, reporter: Reporter, stop: Stop
) -> Encoded:
    """Return what the gate compares on: held-out pictures, encoded into a folder, or the training data."""
    if not spec.validates:
        return encoded
    settings = spec.method.hyperparameters
    place = spec.place("validation")
    count = sum(1 for _ in islice(rows(place), settings.eval_samples))
    latents.encode(
        load(spec.inputs["base"], None, device.device),
        islice(rows(place), count),
        folder,
        side=encoded.resolution,
        aspect_buckets=settings.aspect_buckets,
        progress=Progress(reporter, "encode", count),
        stop=stop,
    )
    return Encoded(folder)


def _compared(spec: UnitSpec, shown: Encoded, device: Accelerator, reporter: Reporter, stop: Stop) -> Verdict:
    """Return the verdict on the weights that were just written and those that they started from."""
    settings = spec.method.hyperparameters
    assert isinstance(settings, RoundsHyperparameters), "gates are for methods that play rounds"
    drawing, pairs = drawing_of(settings), gate.chosen(shown, settings.eval_samples)
    progress = None
    scored = []
    for weights in (spec.inputs.get("weights"), spec.out / "weights"):
        device.free_memory()
        family = load(spec.inputs["base"], weights, device.device)
        family.denoiser = device.prepare_model(family.denoiser, evaluation_mode=True)
        passes = len(pairs) * drawing.passes(family)
        progress = progress or Progress(reporter, "gate", 2 * passes)
        scored.append(
            gate.scores(family, shown, pairs, drawing, seed=spec.seed, progress=progress, stop=stop)
        )
    return gate.verdict(*scored, held_out=spec.validates)
