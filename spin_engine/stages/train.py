"""``train``: one iteration, from theta_k to theta_k+1."""

from pathlib import Path

from accelerate import Accelerator
from torch import Tensor

from spin_engine.batches import Batches
from spin_engine.device import accelerator
from spin_engine.families.family import Family
from spin_engine.hyperparameters import IterationPlan
from spin_engine.itinerary import itinerary_for
from spin_engine.latents import Encoded
from spin_engine.losses import Losses
from spin_engine.policy import snapshot, trainable
from spin_engine.reporter import Reporter
from spin_engine.rivals import rivals_for
from spin_engine.stopping import Stop
from spin_engine.trainer import Trainer
from spin_engine.unit_spec import UnitSpec


def run(spec: UnitSpec, reporter: Reporter, stop: Stop, *, keep: int | None = None) -> None:
    """Read ``base``, ``weights`` (none: the base), ``encoded``, ``rivals``; write ``weights/`` into ``out``.

    ``reference``: the weights of an online reference that is not theta_k (see ``Hyperparameters.opponent``).
    Checkpoints go to ``checkpoints/`` beside ``out``; ``keep`` is how many stay, None for all.
    """
    settings = spec.method.hyperparameters
    plan = settings.for_iteration(spec.iteration)
    device = accelerator()
    encoded = Encoded(spec.place("encoded"), open_shards=settings.shuffle_window)
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
    trainer = Trainer(family, losses, itinerary, plan=plan, settings=settings, accelerator=device)
    if spec.resume is not None:
        trainer.resume(spec.resume)
    trainer.train(spec.out.parent / "checkpoints", reporter, stop, keep=keep)
    if device.is_main_process:
        trainer.save_weights(spec.out / "weights")


def _policy(spec: UnitSpec, weights: Path | None, device: Accelerator) -> Family:
    settings = spec.method.hyperparameters
    return trainable(
        spec.inputs["base"],
        weights,
        device.device,
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
    settings = spec.method.hyperparameters
    if plan.judge == "base":
        whose = spec.inputs.get("reference")
        is_start = spec.iteration == settings.iterations[0]
    else:
        is_start = settings.opponent(spec.iteration, seed=spec.seed) == spec.iteration - 1
        whose = spec.inputs.get("weights" if is_start else "reference")
    asked = family if is_start and spec.resume is None else _policy(spec, whose, device)
    return snapshot(asked.denoiser)
