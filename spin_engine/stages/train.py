"""``train``: one iteration, from theta_k to theta_k+1."""

from pathlib import Path

from accelerate import Accelerator

from spin_engine.batches import Batches
from spin_engine.config import SpinHyperparameters
from spin_engine.device import accelerator
from spin_engine.families.family import Family
from spin_engine.hyperparameters import IterationPlan
from spin_engine.itinerary import Itinerary, itinerary_for
from spin_engine.latents import Encoded
from spin_engine.losses import Losses, SelfPlay
from spin_engine.policy import snapshot, trainable
from spin_engine.reporter import Reporter
from spin_engine.rivals import Rivals
from spin_engine.stopping import Stop
from spin_engine.trainer import Trainer
from spin_engine.unit_spec import UnitSpec


def run(spec: UnitSpec, reporter: Reporter, stop: Stop, *, keep: int | None = None) -> None:
    """Read ``base``, ``weights`` (none: the base), ``encoded``, ``rivals``; write ``weights/`` into ``out``.

    Checkpoints go to ``checkpoints/`` beside ``out``; ``keep`` is how many stay, None for all.
    """
    settings = spec.method.hyperparameters
    plan = settings.for_iteration(spec.iteration)
    device = accelerator()
    encoded = Encoded(spec.inputs["encoded"])
    itinerary = itinerary_for(settings, seed=spec.seed, iteration=spec.iteration, pairs=encoded.rows)
    start = spec.inputs.get("weights")
    family = _policy(spec, spec.resume / "weights" if spec.resume else start, device)
    batches = Batches(family, encoded, itinerary, dropout=settings.prompt_dropout)
    losses = Losses(family, batches, _selfplay(spec, plan, itinerary, family, device))
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


def _selfplay(
    spec: UnitSpec, plan: IterationPlan, itinerary: Itinerary, family: Family, device: Accelerator
) -> SelfPlay | None:
    settings = spec.method.hyperparameters
    if plan.objective == "sft":
        return None
    assert isinstance(settings, SpinHyperparameters)
    assert plan.beta is not None
    if "rivals" not in spec.inputs:
        raise ValueError("self-play trains against rivals: generate them first")
    rivals = Rivals(spec.inputs["rivals"])
    cached = settings.reference == "cached"
    rivals.check(itinerary, cached=cached)
    reference = None
    if not cached:
        resumed = spec.resume is not None
        opponent = _policy(spec, spec.inputs.get("weights"), device) if resumed else family
        reference = snapshot(opponent.denoiser)
    return SelfPlay(rivals, plan.beta, reference, settings.safeguard, settings.anchor)
