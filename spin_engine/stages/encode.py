"""``encode``: a data set becomes latents and text states, once for all jobs that use both."""

from spin_engine import latents
from spin_engine.data import rows
from spin_engine.device import accelerator
from spin_engine.families.loader import load
from spin_engine.phases import phase
from spin_engine.reporter import Progress, Reporter
from spin_engine.rivals import require_losers
from spin_engine.stopping import Stop
from spin_engine.unit_spec import UnitSpec


def run(spec: UnitSpec, reporter: Reporter, stop: Stop) -> None:
    """Read ``base`` and ``data``; write the format of ``latents`` into ``out``, or to the URI ``encoded``.

    One of several units writes its part of the shards, and reads all the data to know which they are.
    """
    data, settings = spec.place("data"), spec.method.hyperparameters
    plan = settings.for_iteration(settings.iterations[-1])
    require_losers(plan, has_losers=next(rows(data)).read_loser is not None)
    with phase(reporter, "load"):
        family = load(spec.inputs["base"], None, accelerator().device)
    count = sum(1 for _ in rows(data))
    with phase(reporter, "encode", rows=count):
        latents.encode(
            family,
            rows(data),
            spec.sources.get("encoded", spec.out),
            side=settings.resolution or family.resolution,
            aspect_buckets=settings.aspect_buckets,
            part=spec.shard,
            parts=spec.shards,
            progress=Progress(reporter, "encode", count),
            stop=stop,
        )
