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
    """What was drawn: the pictures of the first caption, then those of the second, ..."""

    captions: list[str]
    """[N], each caption as often as it was drawn."""
    seeds: list[int]
    """[N], of the noise that each picture started from."""
    pictures: list[Image.Image]
    """[N]"""
    real: list[Image.Image]
    """The data's own picture of each caption, at the same size."""


def run(spec: UnitSpec, reporter: Reporter, stop: Stop) -> None:
    """Read ``base``, ``weights`` and ``validation``, else ``data``; write pictures and numbers into ``out``.

    ``samples/0.png``, ..., and ``grid.png``: the first eight captions. ``metrics.json``: each metric with its
    interval.
    ``report.json``: what was drawn and how. Every iteration, of every method, draws the same captions from
    the same seeds, which follow from the job's seed.
    """
    settings = spec.method.hyperparameters
    shown = _draw(spec, reporter, stop)
    judge = spec.inputs["base"] / "spindle" / "judge"
    count = min(settings.eval_samples, len(shown.real))
    found = evaluate(
        shown.pictures[: count * settings.eval_seeds],
        shown.captions[: count * settings.eval_seeds],
        shown.real[:count],
        judge if judge.is_dir() else None,
        seed=spec.seed,
    )
    values = {name: asdict(interval) for name, interval in found.items()}
    firsts = slice(0, PREVIEWS * settings.eval_seeds, settings.eval_seeds)
    previews = list(zip(shown.pictures[firsts], shown.captions[firsts], shown.seeds[firsts], strict=True))
    report = {
        "iteration": spec.iteration,
        "captions": count,
        "seeds_per_caption": settings.eval_seeds,
        "held_out": "validation" in spec.inputs,
        "steps": settings.eval_steps,
        "guidance": settings.eval_guidance,
        "judge": judge.is_dir(),
        "values": values,
        "samples": [{"prompt": prompt, "seed": seed} for _, prompt, seed in previews],
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
    }
    (spec.out / "metrics.json").write_text(json.dumps(values, indent=2) + "\n")
    (spec.out / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    _show(spec, previews, reporter)
    reporter.send({"type": "evaluation", "iteration": spec.iteration, "values": values})


def _draw(spec: UnitSpec, reporter: Reporter, stop: Stop) -> Drawn:
    settings = spec.method.hyperparameters
    family = load(spec.inputs["base"], spec.inputs.get("weights"), accelerator().device)
    side = settings.resolution or family.resolution
    source = spec.inputs.get("validation", spec.inputs["data"])
    captions: list[str] = []
    seeds: list[int] = []
    real = []
    for index, row in enumerate(islice(rows(source), max(settings.eval_samples, PREVIEWS))):
        captions += [row.caption] * settings.eval_seeds
        seeds += [_seed(spec.seed, index, number) for number in range(settings.eval_seeds)]
        real.append(fit(row.picture(), side))
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


def _seed(seed: int, index: int, number: int) -> int:
    """Return the seed of picture ``number`` of caption ``index``; however many follow, the first stays."""
    return derive_seed(seed, "evaluate", index, *([number] if number else [])) % 2**31


def _show(spec: UnitSpec, previews: list[tuple[Image.Image, str, int]], reporter: Reporter) -> None:
    """Write the previews and tell of them: the first picture of each of the first captions."""
    folder = spec.out / "samples"
    folder.mkdir(exist_ok=True)
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
