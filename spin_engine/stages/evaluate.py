"""``evaluate``: draw held-out captions with fixed seeds, measure them, and show the first few."""

import importlib.metadata
import json
from dataclasses import asdict, dataclass
from itertools import islice

from PIL import Image

from spin_engine.data import fit, rows
from spin_engine.device import accelerator
from spin_engine.diffusion import derive_seed
from spin_engine.families.loader import load
from spin_engine.metrics.evaluate import evaluate
from spin_engine.previews import write_grid
from spin_engine.reporter import Progress, Reporter
from spin_engine.sampler import BATCH, draw
from spin_engine.stopping import Stop
from spin_engine.unit_spec import UnitSpec

PREVIEWS = 8
PACKAGES = ("torch", "diffusers", "transformers", "peft", "accelerate")


@dataclass(frozen=True)
class Drawn:
    """What was drawn, in the order of the captions."""

    captions: list[str]
    seeds: list[int]
    pictures: list[Image.Image]
    real: list[Image.Image]
    """The data's own pictures of the same captions, at the same size."""


def run(spec: UnitSpec, reporter: Reporter, stop: Stop) -> None:
    """Read ``base``, ``weights`` and ``validation``, else ``data``; write pictures and numbers into ``out``.

    ``samples/0.png``, ..., and ``grid.png``: the first eight captions. ``metrics.json``: each metric with its
    interval.
    ``report.json``: what was drawn and how. Every iteration draws the same captions from the same seeds.
    """
    settings = spec.method.hyperparameters
    shown = _draw(spec, reporter, stop)
    judge = spec.inputs["base"] / "spindle" / "judge"
    count = min(settings.eval_samples, len(shown.captions))
    found = evaluate(
        shown.pictures[:count],
        shown.captions[:count],
        shown.real[:count],
        judge if judge.is_dir() else None,
        seed=spec.seed,
    )
    values = {name: asdict(interval) for name, interval in found.items()}
    report = {
        "iteration": spec.iteration,
        "captions": count,
        "held_out": "validation" in spec.inputs,
        "steps": settings.eval_steps,
        "guidance": settings.eval_guidance,
        "judge": judge.is_dir(),
        "values": values,
        "samples": [
            {"prompt": prompt, "seed": seed}
            for prompt, seed in zip(shown.captions[:PREVIEWS], shown.seeds[:PREVIEWS], strict=True)
        ],
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
    }
    (spec.out / "metrics.json").write_text(json.dumps(values, indent=2) + "\n")
    (spec.out / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    _show(spec, shown, reporter)
    reporter.send({"type": "evaluation", "iteration": spec.iteration, "values": values})


def _draw(spec: UnitSpec, reporter: Reporter, stop: Stop) -> Drawn:
    settings = spec.method.hyperparameters
    family = load(spec.inputs["base"], spec.inputs.get("weights"), accelerator().device)
    side = settings.resolution or family.resolution
    source = spec.inputs.get("validation", spec.inputs["data"])
    captions, real = [], []
    for row in islice(rows(source), max(settings.eval_samples, PREVIEWS)):
        captions.append(row.caption)
        real.append(fit(row.picture(), side))
    seeds = [derive_seed(spec.seed, "evaluate", index) % 2**31 for index in range(len(captions))]
    progress = Progress(reporter, "evaluate", len(captions))
    pictures: list[Image.Image] = []
    for start in range(0, len(captions), BATCH):
        stop.check()
        part = slice(start, start + BATCH)
        pictures += draw(
            family,
            captions[part],
            [""] * len(captions[part]),
            seeds[part],
            steps=settings.eval_steps,
            guidance=settings.eval_guidance,
            height=side,
            width=side,
        )
        progress.advance(len(captions[part]))
    return Drawn(captions, seeds, pictures, real)


def _show(spec: UnitSpec, shown: Drawn, reporter: Reporter) -> None:
    """Write the previews and tell of them."""
    folder = spec.out / "samples"
    folder.mkdir(exist_ok=True)
    previews = list(zip(shown.pictures, shown.captions, shown.seeds, strict=True))[:PREVIEWS]
    for index, (picture, prompt, seed) in enumerate(previews):
        path = folder / f"{index}.png"
        picture.save(path)
        reporter.send(
            {
                "type": "sample",
                "iteration": spec.iteration,
                "index": index,
                "prompt": prompt,
                "seed": seed,
                "path": str(path),
            }
        )
    write_grid([one[0] for one in previews], [one[1] for one in previews], spec.out / "grid.png")
