"""``generate``: the opponent draws one shard of the rivals of an iteration, and the reference judges them."""

import json

from spin_engine.batches import Batches
from spin_engine.device import accelerator
from spin_engine.families.family import Family
from spin_engine.families.loader import load
from spin_engine.files import write_whole
from spin_engine.hyperparameters import IterationPlan, RoundsHyperparameters
from spin_engine.itinerary import itinerary_for, part_of
from spin_engine.latents import Encoded
from spin_engine.phases import phase
from spin_engine.reporter import Reporter
from spin_engine.rivals import require_losers
from spin_engine.selfplay import Opponent, drawing_of, generate
from spin_engine.stopping import Stop
from spin_engine.unit_spec import UnitSpec


def run(spec: UnitSpec, reporter: Reporter, stop: Stop) -> None:
    """Read ``base``, ``weights`` (none: the base plays) and ``encoded``; write rivals into ``out``.

    ``weights`` are the opponent's; ``reference`` those that the job started from, where these judge.
    """
    settings = spec.method.hyperparameters
    plan = settings.for_iteration(spec.iteration)
    if not plan.generates:
        raise ValueError(f"{plan.objective} has no rivals to generate in iteration {spec.iteration}")
    encoded = Encoded(spec.place("encoded"), open_shards=settings.shuffle_window)
    require_losers(plan, has_losers=encoded.has_losers)
    family, judge = _players(spec, plan, reporter)
    itinerary = itinerary_for(settings, seed=spec.seed, iteration=spec.iteration, layout=encoded.layout)
    pairs = part_of(itinerary.used_pairs(), spec.shard, spec.shards)
    micro_batch = min(settings.micro_batch_size or settings.batch_size, settings.batch_size)
    batches = Batches(
        family, encoded, itinerary, dropout=settings.prompt_dropout, sampler_steps=plan.sampler_steps
    )
    drawing = drawing_of(settings) if isinstance(settings, RoundsHyperparameters) else None
    with phase(reporter, "generate", pairs=len(pairs)):
        generate(
            Opponent(family, encoded, batches, itinerary, plan=plan, micro_batch=micro_batch, judge=judge),
            pairs,
            spec.out,
            shard=spec.shard,
            drawing=drawing,
            reporter=reporter,
            stop=stop,
        )
    about = {"iteration": spec.iteration, "shard": spec.shard, "shards": spec.shards, "pairs": len(pairs)}
    write_whole(spec.out / f"rivals-{spec.shard:05d}.json", (json.dumps(about) + "\n").encode())


def _players(spec: UnitSpec, plan: IterationPlan, reporter: Reporter) -> tuple[Family, Family | None]:
    """Return who draws, and who judges where that is another."""
    settings, device = spec.method.hyperparameters, accelerator()
    judge: Family | None = None
    with phase(reporter, "load"):
        family = load(spec.inputs["base"], spec.inputs.get("weights"), device.device)
        family.denoiser = device.prepare_model(family.denoiser, evaluation_mode=True)
        if (
            plan.judge == "base"
            and settings.opponent(spec.iteration, seed=spec.seed) >= settings.iterations[0]
        ):
            judge = load(spec.inputs["base"], spec.inputs.get("reference"), device.device)
            judge.denoiser = device.prepare_model(judge.denoiser, evaluation_mode=True)
    return family, judge
