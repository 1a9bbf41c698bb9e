"""``generate``: the opponent theta_k draws one shard of the rivals of an iteration."""

import json

from spin_engine.config import SpinHyperparameters
from spin_engine.device import accelerator
from spin_engine.families.loader import load
from spin_engine.files import write_whole
from spin_engine.itinerary import itinerary_for, part_of
from spin_engine.latents import Encoded
from spin_engine.reporter import Reporter
from spin_engine.selfplay import Drawing, Opponent, generate
from spin_engine.stopping import Stop
from spin_engine.unit_spec import UnitSpec

LARGEST_BATCH = 64


def run(spec: UnitSpec, reporter: Reporter, stop: Stop) -> None:
    """Read ``base``, ``weights`` (none: the base plays) and ``encoded``; write rivals into ``out``."""
    settings = spec.method.hyperparameters
    if not isinstance(settings, SpinHyperparameters) or spec.iteration == 0:
        raise ValueError("supervised fine-tuning has no rivals to generate")
    device = accelerator()
    encoded = Encoded(spec.inputs["encoded"])
    family = load(spec.inputs["base"], spec.inputs.get("weights"), device.device)
    family.denoiser = device.prepare_model(family.denoiser, evaluation_mode=True)
    itinerary = itinerary_for(settings, seed=spec.seed, iteration=spec.iteration, pairs=encoded.rows)
    pairs = part_of(itinerary.used_pairs(), spec.shard, spec.shards)
    micro_batch = min(settings.micro_batch_size or settings.batch_size, settings.batch_size)
    generate(
        Opponent(family, encoded, itinerary, dropout=settings.prompt_dropout, micro_batch=micro_batch),
        pairs,
        spec.out,
        shard=spec.shard,
        drawing=Drawing(settings.rival_steps, settings.rival_guidance, min(LARGEST_BATCH, 2 * micro_batch)),
        cached=settings.reference == "cached",
        reporter=reporter,
        stop=stop,
    )
    about = {"iteration": spec.iteration, "shard": spec.shard, "shards": spec.shards, "pairs": len(pairs)}
    write_whole(spec.out / f"rivals-{spec.shard:05d}.json", (json.dumps(about) + "\n").encode())
