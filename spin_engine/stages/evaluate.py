"""``evaluate``: draw held-out captions with fixed seeds, measure them, and show the first few."""

import importlib.metadata
import json
from dataclasses import asdict, dataclass
from itertools import islice

from PIL import Image

from spin_engine.data import fit, rows
from spin_engine.device import accelerator
from spin_engine.diffusion import derive_seed
from spin_engine.families.family import Family
from spin_engine.families.loader import load
from spin_engine.metrics.evaluate import evaluate
from spin_engine.previews import write_grid
from spin_engine.reporter import Progress, Reporter
from spin_engine.sampler import BATCH, draw
from spin_engine.stopping import Stop
from spin_engine.unit_spec import UnitSpec

PREVIEWS = 8
PACKAGES = ("torch", "diffusers", "transformers", "peft", "accelerate")


Preview = tuple[Image.Image, str, int]
"""A picture, its caption and its seed."""


@dataclass(frozen=True)
class Asked:
    """What is to be drawn: the pictures of the first caption, then those of the second, ..."""

    captions: list[str]
    """[N], each caption as often as it is drawn."""
    seeds: list[int]
    """[N], of the noise that each picture starts from."""
    real: list[Image.Image]
    """The data's own picture of each caption, at the same size."""
    side: int
    """Of every picture, in pixels."""


def run(spec: UnitSpec, reporter: Reporter, stop: Stop) -> None:
    """Read ``base``, ``weights`` and ``validation``, else ``data``; write pictures and numbers into ``out``.

    ``samples/0.png``, ..., and ``grid.png``: the first eight captions. ``metrics.json``: each metric with its
    interval, of the first guidance under its own name, of another as ``NAME@GUIDANCE``.
    ``report.json``: what was drawn and how. Every iteration, of every method, draws the same captions from
    the same seeds, which follow from the job's seed.
    """
    settings = spec.method.hyperparameters
    family = load(spec.inputs["base"], spec.inputs.get("weights"), accelerator().device)
    asked = _asked(spec, family)
    judge = spec.inputs["base"] / "spindle" / "judge"
    count = min(settings.eval_samples, len(asked.real))
    progress = Progress(reporter, "evaluate", len(asked.captions) * len(settings.eval_guidances))
    firsts = slice(0, PREVIEWS * settings.eval_seeds, settings.eval_seeds)
    previews: list[Preview] = []
    values = {}
    for guidance in settings.eval_guidances:
        pictures = _draw(family, asked, spec, guidance, progress=progress, stop=stop)
        found = evaluate(
            pictures[: count * settings.eval_seeds],
            asked.captions[: count * settings.eval_seeds],
            asked.real[:count],
            judge if judge.is_dir() else None,
            seed=spec.seed,
        )
        mark = f"@{guidance:g}" if previews else ""
        values |= {name + mark: asdict(interval) for name, interval in found.items()}
        previews = previews or list(
            zip(pictures[firsts], asked.captions[firsts], asked.seeds[firsts], strict=True)
        )
    report = {
        "iteration": spec.iteration,
        "captions": count,
        "seeds_per_caption": settings.eval_seeds,
        "held_out": "validation" in spec.inputs,
        "steps": settings.eval_steps,
        "guidance": settings.eval_guidances,
        "judge": judge.is_dir(),
        "values": values,
        "samples": [{"prompt": prompt, "seed": seed} for _, prompt, seed in previews],
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
    }
    (spec.out / "metrics.json").write_text(json.dumps(values, indent=2) + "\n")
    (spec.out / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    _show(spec, previews, reporter)
    reporter.send({"type": "evaluation", "iteration": spec.iteration, "values": values})


def _asked(spec: UnitSpec, family: Family) -> Asked:
    settings = spec.method.hyperparameters
    side = settings.resolution or family.resolution
    source = spec.inputs.get("validation", spec.inputs["data"])
    captions: list[str] = []
    seeds: list[int] = []
    real = []
    for index, row in enumerate(islice(rows(source), max(settings.eval_samples, PREVIEWS))):
        captions += [row.caption] * settings.eval_seeds
        seeds += [_seed(spec.seed, index, number) for number in range(settings.eval_seeds)]
        real.append(fit(row.picture(), side))
    return Asked(captions, seeds, real, side)


def _draw(
    family: Family, asked: Asked, spec: UnitSpec, guidance: float, *, progress: Progress, stop: Stop
) -> list[Image.Image]:
    pictures: list[Image.Image] = []
    for start in range(0, len(asked.captions), BATCH):
        stop.check()
        part = slice(start, start + BATCH)
        pictures += draw(
            family,
            asked.captions[part],
            [""] * len(asked.captions[part]),
            asked.seeds[part],
            steps=spec.method.hyperparameters.eval_steps,
            guidance=guidance,
            height=asked.side,
            width=asked.side,
        )
        progress.advance(len(asked.captions[part]))
    return pictures


def _seed(seed: int, index: int, number: int) -> int:
    """Return the seed of picture ``number`` of caption ``index``; however many follow, the first stays."""
    return derive_seed(seed, "evaluate", index, *([number] if number else [])) % 2**31


def _show(spec: UnitSpec, previews: list[Preview], reporter: Reporter) -> None:
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
