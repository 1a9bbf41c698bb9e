"""A whole evaluation in one command: draw prompts with a model, and with an opponent, and measure both.

``pictures/model/00000.png``, ...: the pictures of the first prompt, then those of the second; likewise
``pictures/opponent/``. ``report.json``: every number. Pictures that are there are not drawn again. Under
``accelerate launch`` the processes share the drawing, in a folder that all of them see; the first measures.
"""

import json
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
import yaml
from accelerate import Accelerator
from pydantic import AfterValidator, Field, model_validator

from spin_engine.data import fit, rows
from spin_engine.device import accelerator
from spin_engine.families.loader import load
from spin_engine.files import write_whole
from spin_engine.gallery import Gallery, Sitting, fill, seed_of
from spin_engine.hyperparameters import Config
from spin_engine.metrics.choice import DISTANCES, MetricChoice, ScoreName, distinct
from spin_engine.metrics.contest import Table, best_of, chosen, win_rate
from spin_engine.metrics.evaluate import Measured, Pictures, evaluate
from spin_engine.metrics.interval import Interval, interval_of_mean
from spin_engine.pipelines import folder_of
from spin_engine.previews import write_grid
from spin_engine.reporter import Progress, Reporter
from spin_engine.stopping import Stop

PREVIEWS = 16


class EvaluationConfig(Config):
    """The file that ``python -m spin_engine evaluate`` reads."""

    model: str = Field(min_length=1, description="Folder or hub id of the pipeline to measure.")
    opponent: str | None = Field(None, min_length=1, description="The same, to be won against; null: nobody.")
    prompts: str = Field(
        min_length=1,
        description="Folder or zip of pictures with captions, or a text file with one prompt a line.",
    )
    limit: int | None = Field(None, ge=1, description="Prompts that are used, the first ones; null: all.")
    images_per_prompt: int = Field(5, ge=1, le=1000, description="Pictures of each prompt, each of its seed.")
    steps: int = Field(50, ge=1, le=1000, description="Sampler steps of a picture.")
    guidance: float = Field(7.5, ge=1, le=50, description="Classifier-free guidance; 1: none.")
    resolution: int | None = Field(
        None, ge=8, le=4096, multiple_of=8, description="Side of a picture in pixels; null: the model's own."
    )
    seed: int = Field(0, ge=0, lt=2**31, description="Decides the noise of every picture, and the resamples.")
    metrics: Annotated[tuple[MetricChoice, ...], AfterValidator(distinct)] = Field(
        min_length=1, description="What is measured, names or {name, model}."
    )
    best_of: tuple[ScoreName, ...] = Field(
        (), description="Scores whose mean picks the best picture of a prompt; empty: none is picked."
    )

    @model_validator(mode="after")
    def _best_is_measured(self) -> Self:
        """Refuse to pick by what is not measured."""
        if missing := set(self.best_of) - {choice.name for choice in self.metrics}:
            raise ValueError(f"best_of needs {', '.join(sorted(missing))} among the metrics")
        return self


@dataclass(frozen=True)
class Prompts:
    """What is drawn.

    Attributes:
        texts: [P].
        real: a picture of each, or none at all.
    """

    texts: list[str]
    real: Gallery


def read_evaluation(path: Path) -> EvaluationConfig:
    """Read an evaluation from a YAML file; ValueError names the key that is wrong."""
    text = yaml.safe_load(path.read_text())
    if not isinstance(text, dict):
        raise ValueError(f"{path} is not a mapping of settings")  # noqa: TRY004 (the file is wrong, not the call)
    return EvaluationConfig.model_validate(text)


def run_evaluation(asked: EvaluationConfig, out: Path, reporter: Reporter, stop: Stop) -> Path:
    """Draw and measure, or go on with it, and return the report.

    Args:
        asked: what to do.
        out: a folder of its own.
        reporter: hears of it.
        stop: ends it early where it can be taken up again.

    Raises:
        Stopped: it was asked to stop.
        ValueError: the user's mistake; ``out`` holding another evaluation is one.
    """
    device = accelerator()
    if device.is_main_process:
        _claim(asked, out)
    device.wait_for_everyone()
    sides = {"model": asked.model} | ({"opponent": asked.opponent} if asked.opponent else {})
    bases = {name: folder_of(model) for name, model in sides.items()}
    side = asked.resolution or load(bases["model"]).resolution
    prompts = _prompts(asked, out / "pictures" / "real", side, alone=device.is_main_process)
    drawn = {
        name: _drawn(asked, base, prompts.texts, out / "pictures" / name, device, reporter, stop)
        for name, base in bases.items()
    }
    device.wait_for_everyone()
    report = out / "report.json"
    if device.is_main_process:
        captions = _repeated(prompts.texts, asked.images_per_prompt)
        found = {}
        for name, base in bases.items():
            stop.check()
            judge = base / "spindle" / "judge"
            found[name] = evaluate(
                Pictures(drawn[name], captions, prompts.real),
                judge if judge.is_dir() else None,
                seed=asked.seed,
                metrics=asked.metrics,
                device=device.device,
            )
        write_whole(report, (json.dumps(_report(asked, prompts, found), indent=2) + "\n").encode())
        shown = drawn["model"][:: asked.images_per_prompt][:PREVIEWS]
        write_grid(list(shown), prompts.texts[:PREVIEWS], out / "grid.png")
    return report


def _claim(asked: EvaluationConfig, out: Path) -> None:
    """Note the evaluation in its folder; ValueError if the folder is another one's."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / "evaluation.json"
    text = asked.model_dump_json(indent=2) + "\n"
    if not path.exists():
        write_whole(path, text.encode())
    elif path.read_text() != text:
        raise ValueError(f"{out} holds another evaluation (see {path}): choose another --out")


def _prompts(asked: EvaluationConfig, folder: Path, side: int, *, alone: bool) -> Prompts:
    """Read the prompts; one process puts their pictures, if they have any, beside those to be drawn."""
    source = Path(asked.prompts)
    if source.is_file() and source.suffix == ".txt":
        lines = [line.strip() for line in source.read_text().splitlines()]
        texts = [line for line in lines if line][: asked.limit]
        if not texts:
            raise ValueError(f"{source} has no prompts: one a line is expected")
        return Prompts(texts, Gallery(folder, range(0)))
    folder.mkdir(parents=True, exist_ok=True)
    texts = []
    pictures = Gallery(folder, range(0))
    compared = any(choice.name in (*DISTANCES, "judge", "histogram_distance") for choice in asked.metrics)
    for index, row in enumerate(islice(rows(source), asked.limit)):
        texts.append(row.caption)
        if compared and alone:
            pictures.put(index, fit(row.picture(), side))
    return Prompts(texts, Gallery(folder, range(len(texts) if compared else 0)))


def _drawn(
    asked: EvaluationConfig,
    base: Path,
    texts: list[str],
    folder: Path,
    device: Accelerator,
    reporter: Reporter,
    stop: Stop,
) -> Gallery:
    """Draw this process's share of one model's pictures."""
    each = asked.images_per_prompt
    gallery = Gallery(folder, range(len(texts) * each))
    folder.mkdir(parents=True, exist_ok=True)
    family = load(base, None, device.device)
    progress = Progress(reporter, f"draw {folder.name}", -(-len(gallery) // device.num_processes))
    fill(
        gallery,
        family,
        _repeated(texts, each),
        [seed_of(asked.seed, index, number) for index in range(len(texts)) for number in range(each)],
        Sitting(asked.steps, asked.guidance, asked.resolution or family.resolution),
        before=stop.check,
        after=progress.advance,
        part=device.process_index,
        parts=device.num_processes,
    )
    return gallery


def _repeated(texts: list[str], times: int) -> list[str]:
    return [text for text in texts for _ in range(times)]


def _report(asked: EvaluationConfig, prompts: Prompts, found: dict[str, Measured]) -> dict[str, Any]:
    """Return all numbers: means over pictures, over each prompt's best picture, and who wins."""
    report: dict[str, Any] = {
        "evaluation": asked.model_dump(mode="json", exclude_none=True),
        "prompts": len(prompts.texts),
        "images_per_prompt": asked.images_per_prompt,
        "values": {name: _plain(measured.values) for name, measured in found.items()},
    }
    each = asked.images_per_prompt
    tables = {name: _tables(measured, len(prompts.texts), each) for name, measured in found.items()}
    captions = _repeated(prompts.texts, each)
    pairs = {name: {score: table.ravel() for score, table in own.items()} for name, own in tables.items()}
    report["win_rate"] = _contest(pairs, captions, asked.seed)
    if asked.best_of:
        best = {name: _best(own, asked.best_of) for name, own in tables.items()}
        report["best_of"] = {
            "criterion": list(asked.best_of),
            "values": {name: _means(own, prompts.texts, asked.seed) for name, own in best.items()},
            "win_rate": _contest(best, prompts.texts, asked.seed),
        }
    return report


def _tables(measured: Measured, prompts: int, each: int) -> dict[str, Table]:
    return {name: scores.reshape(prompts, each) for name, scores in measured.scores.items()}


def _best(tables: dict[str, Table], criterion: tuple[ScoreName, ...]) -> dict[str, np.ndarray]:
    """Return each score of each prompt's best picture, [P], and ``mean``, by which it is the best."""
    mean = np.mean([tables[name] for name in criterion], axis=0)
    columns = best_of(mean)
    return {name: chosen(table, columns) for name, table in tables.items()} | {"mean": chosen(mean, columns)}


def _contest(scores: dict[str, dict[str, np.ndarray]], captions: list[str], seed: int) -> dict[str, Any]:
    """Return the model's win rate over the opponent by each score; nothing without an opponent."""
    if "opponent" not in scores:
        return {}
    return _plain(
        {
            name: win_rate(ours, scores["opponent"][name], captions, seed=seed)
            for name, ours in scores["model"].items()
        }
    )


def _means(scores: dict[str, np.ndarray], captions: list[str], seed: int) -> dict[str, Any]:
    return _plain({name: interval_of_mean(own, captions, seed=seed) for name, own in scores.items()})


def _plain(values: dict[str, Interval]) -> dict[str, Any]:
    return {name: asdict(interval) for name, interval in values.items()}
