"""Look for the starter's recommended settings, and measure what they are worth.

Every setting of ``settings.yaml`` is run by the engine's own stages and measured on held-out captions:
validation while searching, test when confirming. One JSON line a measurement goes to
``docs/experiments/search.jsonl``; what is there is not done again, so the script can be stopped and started
at will.

Run it at the top of the repository:
    PYTHONPATH=. python examples/emoji/experiments/search.py [--only NAME ...]     the search
    PYTHONPATH=. python examples/emoji/experiments/search.py --confirm             the chosen ones, on test
    PYTHONPATH=. python examples/emoji/experiments/search.py --table               the results in Markdown
"""

import argparse
import dataclasses
import json
import shutil
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import yaml
from table import table

from spin_engine import data
from spin_engine.config import Method
from spin_engine.families.family import Family
from spin_engine.families.loader import load
from spin_engine.hyperparameters import Config
from spin_engine.metrics.evaluate import Pictures, evaluate
from spin_engine.sampler import draw
from spin_engine.stages import encode, generate, train
from spin_engine.stopping import Stop
from spin_engine.unit_spec import Kind, UnitSpec

REPOSITORY = Path(__file__).resolve().parents[3]
EXAMPLE = REPOSITORY / "examples" / "emoji"
ANOTHER_START = 1000
CEILINGS = ("real", "autoencoder")
STAGES = {"encode": encode.run, "generate": generate.run, "train": partial(train.run, keep=1)}
SPLITS = ("train", "validation", "test")
Split = Literal["validation", "test"]


class Evaluation(Config):
    """How pictures are drawn and measured."""

    steps: int
    guidance: tuple[float, ...]
    seeds: tuple[int, ...]


class Setting(Config):
    """A training on top of the base, or of another setting's last weights; no method: the base itself."""

    method: Method | None = None
    start: str | None = None
    every_iteration: bool = False


class Study(Config):
    """``settings.yaml``."""

    search: Evaluation
    confirm: Evaluation
    confirmed: tuple[str, ...] = ()
    training_seeds: tuple[int, ...] = (0,)
    settings: dict[str, Setting]


@dataclass(frozen=True)
class Trained:
    """What one iteration of a setting left behind, and its CPU seconds since the base model."""

    iteration: int
    weights: Path
    cpu_seconds: float
    training: dict[str, float]


class Notes:
    """A reporter that keeps the mean of the last ten training steps' numbers."""

    def __init__(self) -> None:
        """Start with none."""
        self._steps: list[dict[str, float]] = []

    def send(self, line: dict[str, Any]) -> None:
        """Keep metrics, drop the rest."""
        if line["type"] == "metrics":
            self._steps.append(line["values"])

    def last(self) -> dict[str, float]:
        """Return the means, rounded to five digits."""
        steps = self._steps[-10:]
        names = sorted(set.intersection(*(set(step) for step in steps))) if steps else []
        return {name: float(f"{sum(step[name] for step in steps) / len(steps):.5g}") for name in names}


class Laboratory:
    """Runs settings on one model and one data set, and keeps what they leave behind."""

    def __init__(self, study: Study, *, model: Path, pictures: Path, build: Path, results: Path) -> None:
        """Work on ``model`` and the zips in ``pictures``; weights go to ``build``, lines to ``results``."""
        self.study, self.model, self.build, self.results = study, model, build, results
        self.data = {split: build / "data" / split for split in SPLITS}
        for split, folder in self.data.items():
            with zipfile.ZipFile(pictures / f"{split}.zip") as bundle:
                bundle.extractall(folder)
        self.reference = [row.picture() for row in data.rows(self.data["train"])]
        self.done = {key(line) for line in read(results)}
        results.parent.mkdir(parents=True, exist_ok=True)

    def unit(
        self, kind: Kind, method: Method, seed: int, iteration: int, out: Path, **inputs: Path | None
    ) -> Notes:
        """Run one unit in this process, its output in ``out``."""
        if out.exists():
            shutil.rmtree(out)
        out.mkdir(parents=True)
        notes = Notes()
        given = {"base": self.model} | {name: path for name, path in inputs.items() if path is not None}
        spec = UnitSpec(kind=kind, method=method, seed=seed, iteration=iteration, inputs=given, out=out)
        STAGES[kind](spec, notes, Stop())
        shutil.rmtree(out.parent / "checkpoints", ignore_errors=True)
        return notes

    def encoded(self, method: Method) -> Path:
        """Return the encoded training data, encoding it once for all settings."""
        out = self.build / f"encoded-{method.hyperparameters.resolution or 'native'}"
        if not (out / "index.json").exists():
            self.unit("encode", method, 0, 0, out, data=self.data["train"])
        return out

    def train(self, name: str, seed: int) -> list[Trained]:
        """Return the iterations of a setting, training those that are not there yet; none for the base."""
        setting = self.study.settings[name]
        if setting.method is None:
            return []
        before = self.train(setting.start, seed) if setting.start else []
        spent = before[-1].cpu_seconds if before else 0.0
        weights = before[-1].weights if before else None
        depth = self.depth(name)
        found = []
        for iteration in setting.method.hyperparameters.iterations:
            folder = self.build / name / f"seed-{seed}" / f"iteration-{iteration}"
            note = folder / "trained.json"
            asked = json.loads(setting.model_dump_json())
            if not note.exists():
                costs = self._iterate(
                    setting.method, seed + ANOTHER_START * depth, iteration, folder, weights
                )
                note.write_text(json.dumps(costs | {"setting": asked}) + "\n")
            kept = json.loads(note.read_text())
            if kept["setting"] != asked:
                raise ValueError(
                    f"{name} was trained with other settings: rename it, or remove {folder.parent}"
                )
            spent += kept["cpu_seconds"]
            weights = folder / "train" / "weights"
            found.append(Trained(iteration, weights, round(spent, 1), kept["training"]))
        return found

    def depth(self, name: str) -> int:
        """Return how many starts a setting stands on; each gets random numbers of its own."""
        start = self.study.settings[name].start
        return 0 if start is None else 1 + self.depth(start)

    def _iterate(
        self, method: Method, seed: int, iteration: int, folder: Path, weights: Path | None
    ) -> dict[str, Any]:
        encoded, rivals = self.encoded(method), None
        started = time.process_time()
        if method.hyperparameters.for_iteration(iteration).objective == "spin":
            rivals = folder / "rivals"
            self.unit("generate", method, seed, iteration, rivals, encoded=encoded, weights=weights)
        drawn = time.process_time()
        notes = self.unit(
            "train",
            method,
            seed,
            iteration,
            folder / "train",
            encoded=encoded,
            rivals=rivals,
            weights=weights,
        )
        ended = time.process_time()
        return {
            "generate_cpu_seconds": round(drawn - started, 1),
            "cpu_seconds": round(ended - started, 1),
            "training": notes.last(),
        }

    def measure(self, name: str, seed: int, split: Split, how: Evaluation) -> None:
        """Append the measurements of a setting that are missing, training it if there are any."""
        setting = self.study.settings[name]
        iterations = [None] if setting.method is None else setting.method.hyperparameters.iterations
        about = {"setting": name, "seed": seed, "split": split}
        missing = {
            iteration: [
                guidance
                for guidance in how.guidance
                if key(about | {"iteration": iteration, "guidance": guidance}) not in self.done
            ]
            for iteration in (iterations if setting.every_iteration else iterations[-1:])
        }
        if not any(missing.values()):
            return
        made = {trained.iteration: trained for trained in self.train(name, seed)}
        asked = {"start": setting.start, "method": dump(setting.method)}
        for iteration, guidances in missing.items():
            trained = made.get(iteration)
            cost = {"cpu_seconds": trained.cpu_seconds, "training": trained.training} if trained else {}
            for guidance in guidances:
                family = load(self.model, trained.weights if trained else None)
                line = about | {"iteration": iteration, "guidance": guidance} | cost | asked
                self.append(line | {"metrics": self._drawn(family, split, guidance, how)})

    def _drawn(self, family: Family, split: Split, guidance: float, how: Evaluation) -> dict[str, Any]:
        captions = [row.caption for row in data.rows(self.data[split])] * len(how.seeds)
        count = len(captions) // len(how.seeds)
        seeds = [seed * 100_000 + index for seed in how.seeds for index in range(count)]
        drawn = draw(family, captions, [""] * len(captions), seeds, steps=how.steps, guidance=guidance)
        return self._evaluate(drawn, captions)

    def ceilings(self, split: Split) -> None:
        """Measure the held-out pictures, as they are and through the autoencoder: what can be reached."""
        rows = list(data.rows(self.data[split]))
        captions, real = [row.caption for row in rows], [row.picture() for row in rows]
        for name in CEILINGS:
            about = {"setting": name, "seed": 0, "split": split, "iteration": None, "guidance": None}
            if key(about) in self.done:
                continue
            if name == "autoencoder":
                family = load(self.model, None)
                fitted = [data.fit(picture, family.resolution) for picture in real]
                real = family.decode(family.encode_images(data.to_pixels(fitted)))
            self.append(about | {"metrics": self._evaluate(real, captions)})

    def _evaluate(self, drawn: list[Any], captions: list[str]) -> dict[str, Any]:
        judge = self.model / "spindle" / "judge"
        pictures = Pictures(drawn, captions, self.reference)
        found = evaluate(pictures, judge if judge.exists() else None, seed=0)
        return {
            name: {part: round(value, 4) for part, value in dataclasses.asdict(interval).items()}
            for name, interval in found.values.items()
        }

    def append(self, line: dict[str, Any]) -> None:
        """Write a line and remember it."""
        with self.results.open("a") as stream:
            stream.write(json.dumps(line) + "\n")
        self.done.add(key(line))
        shown = {name: interval["value"] for name, interval in line["metrics"].items()}
        print(line["setting"], line["seed"], line["iteration"], line["guidance"], shown, flush=True)


def key(line: dict[str, Any]) -> tuple[Any, ...]:
    """Return what tells one measurement from another."""
    return tuple(line[name] for name in ("setting", "seed", "split", "iteration", "guidance"))


def read(results: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines that are there."""
    if results.exists():
        yield from (json.loads(line) for line in results.read_text().splitlines() if line.strip())


def dump(method: Method | None) -> Any:
    """Return a method as JSON with only what was set."""
    return None if method is None else method.model_dump(mode="json", exclude_unset=True)


def main() -> None:
    """Search, confirm or print."""
    here = Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", help="names of settings; all of them otherwise")
    parser.add_argument("--confirm", action="store_true", help="the confirmed settings on the test captions")
    parser.add_argument("--table", action="store_true", help="print the results in Markdown and end")
    parser.add_argument("--settings", type=Path, default=here / "settings.yaml")
    parser.add_argument("--model", type=Path, default=EXAMPLE / "model")
    parser.add_argument("--data", type=Path, default=EXAMPLE / "data")
    parser.add_argument("--build", type=Path, default=REPOSITORY / "build" / "experiments")
    parser.add_argument("--results", type=Path, default=REPOSITORY / "docs" / "experiments" / "search.jsonl")
    args = parser.parse_args()
    if args.table:
        print(table(list(read(args.results))))
        return
    study = Study.model_validate(yaml.safe_load(args.settings.read_text()))
    unknown = set(args.only or ()) | set(study.confirmed)
    if unknown := unknown - set(study.settings):
        parser.error(f"no such settings: {', '.join(sorted(unknown))}")
    laboratory = Laboratory(
        study, model=args.model, pictures=args.data, build=args.build, results=args.results
    )
    split: Split = "test" if args.confirm else "validation"
    how = study.confirm if args.confirm else study.search
    laboratory.ceilings(split)
    for seed in study.training_seeds if args.confirm else (0,):
        for name in args.only or (study.confirmed if args.confirm else study.settings):
            if seed == 0 or study.settings[name].method is not None:
                laboratory.measure(name, seed, split, how)


if __name__ == "__main__":
    main()
