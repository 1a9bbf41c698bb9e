"""``evaluate``: draw held-out captions with fixed seeds, measure them, and show the first few."""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

from PIL import Image

from spin_engine import weights
from spin_engine.data import fit, rows
from spin_engine.device import accelerator
from spin_engine.families.loader import load
from spin_engine.gallery import Gallery, Sitting, fill, seed_of
from spin_engine.metrics.evaluate import Pictures, evaluate
from spin_engine.packages import versions
from spin_engine.phases import phase
from spin_engine.previews import write_grid
from spin_engine.reporter import Progress, Reporter
from spin_engine.stopping import Stop
from spin_engine.unit_spec import UnitSpec

PREVIEWS = 8


@dataclass(frozen=True)
class Drawn:
    """What was drawn: the pictures of the first caption, then those of the second, ..."""

    captions: list[str]
    """[N], each caption as often as it was drawn."""
    seeds: list[int]
    """[N], of the noise that each picture started from."""
    pictures: dict[float, Gallery]
    """By guidance, each [N]."""
    real: Sequence[Image.Image]
    """The data's own picture of each caption, at the same size."""


def run(spec: UnitSpec, reporter: Reporter, stop: Stop) -> None:
    """Read ``base``, ``weights`` and ``validation``, else ``data``; write pictures and numbers into ``out``.

    ``samples/0.png``, ..., and ``grid.png``: the first eight captions. ``metrics.json``: each metric with its
    interval, of the first guidance under its own name, of another as ``NAME@GUIDANCE``.
    ``report.json``: what was drawn and how. Every iteration, of every method, draws the same captions from
    the same seeds, which follow from the job's seed.
    """
    with tempfile.TemporaryDirectory(prefix="spindle-evaluate-") as folder:
        _run(spec, Path(folder), reporter, stop)


def _run(spec: UnitSpec, folder: Path, reporter: Reporter, stop: Stop) -> None:
    settings = spec.method.hyperparameters
    shown = _draw(spec, folder, reporter, stop)
    judge = spec.inputs["base"] / "spindle" / "judge"
    trained = spec.inputs.get("weights")
    count = min(settings.eval_samples, len(shown.real))
    drawn = count * settings.eval_seeds
    values: dict[str, dict[str, float]] = {}
    for guidance, pictures in shown.pictures.items():
        with phase(reporter, "measure", pictures=drawn, guidance=guidance):
            found = evaluate(
                Pictures(pictures[:drawn], shown.captions[:drawn], shown.real[:count]),
                judge if judge.is_dir() else None,
                seed=spec.seed,
                metrics=settings.metrics,
                device=accelerator().device,
            )
        mark = "" if guidance == settings.eval_guidances[0] else f"@{guidance:g}"
        values |= {name + mark: asdict(interval) for name, interval in found.values.items()}
    firsts = slice(0, PREVIEWS * settings.eval_seeds, settings.eval_seeds)
    previews = list(
        zip(
            shown.pictures[settings.eval_guidances[0]][firsts],
            shown.captions[firsts],
            shown.seeds[firsts],
            strict=True,
        )
    )
    report = {
        "iteration": spec.iteration,
        "captions": count,
        "seeds_per_caption": settings.eval_seeds,
        "held_out": "validation" in spec.inputs,
        "steps": settings.eval_steps,
        "guidance": settings.eval_guidances,
        "judge": judge.is_dir(),
        "metrics": settings.metrics
        and [choice.model_dump(mode="json", exclude_none=True) for choice in settings.metrics],
        "values": values,
        "gate": None if trained is None else weights.about(trained).get("gate"),
        "samples": [{"prompt": prompt, "seed": seed} for _, prompt, seed in previews],
        "versions": versions(),
    }
    (spec.out / "metrics.json").write_text(json.dumps(values, indent=2) + "\n")
    (spec.out / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    _show(spec, previews, reporter)
    reporter.send({"type": "evaluation", "iteration": spec.iteration, "values": values})


def _draw(spec: UnitSpec, folder: Path, reporter: Reporter, stop: Stop) -> Drawn:
    """Draw into a folder, so that many large pictures do not fill the memory."""
    settings = spec.method.hyperparameters
    with phase(reporter, "load"):
        family = load(spec.inputs["base"], spec.inputs.get("weights"), accelerator().device)
    side = settings.resolution or family.resolution
    source = spec.inputs.get("validation", spec.inputs["data"])
    captions: list[str] = []
    seeds: list[int] = []
    most = max(settings.eval_samples, PREVIEWS)
    real = Gallery(folder / "real", range(most))
    real.folder.mkdir()
    for index, row in enumerate(islice(rows(source), most)):
        captions += [row.caption] * settings.eval_seeds
        seeds += [seed_of(spec.seed, index, number) for number in range(settings.eval_seeds)]
        real.put(index, fit(row.picture(), side))
    progress = Progress(reporter, "evaluate", len(captions) * len(settings.eval_guidances))
    pictures = {}
    for guidance in settings.eval_guidances:
        pictures[guidance] = Gallery(folder / f"drawn-{guidance:g}", range(len(captions)))
        pictures[guidance].folder.mkdir()
        with phase(reporter, "draw", pictures=len(captions), guidance=guidance):
            fill(
                pictures[guidance],
                family,
                captions,
                seeds,
                Sitting(settings.eval_steps, guidance, side),
                before=stop.check,
                after=progress.advance,
            )
    return Drawn(captions, seeds, pictures, real[: len(captions) // settings.eval_seeds])


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
