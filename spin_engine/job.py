"""A whole job in one process: its units one after the other, in folders below the job's own.

``work/encoded``, ``work/iteration-01/rivals``, ... appear under their names when they are finished; running
the job again goes on behind the last finished one, and inside a training from its newest whole checkpoint.
"""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from spin_engine import checkpoint, config
from spin_engine.config import JobConfig, with_recommended
from spin_engine.files import move_folder, write_whole
from spin_engine.pipelines import folder_of
from spin_engine.reporter import Reporter
from spin_engine.stopping import Stop
from spin_engine.store import is_remote
from spin_engine.unit import run_unit
from spin_engine.unit_spec import EVALUATE_BASE, Kind, UnitSpec

KEPT_CHECKPOINTS = 2


@dataclass(frozen=True)
class Planned:
    """A unit of the job: what, where it reads (names in the job's folder, or outside), where it writes."""

    kind: Kind
    iteration: int
    inputs: dict[str, Path | str]
    out: Path


def read_job(path: Path) -> JobConfig:
    """Read a job from YAML; what it leaves open, ``spindle/defaults.json`` of the base model decides.

    Raises:
        ValueError: a key or value is wrong.
    """
    written = config.load(path)
    recommended = folder_of(written.model) / "spindle" / "defaults.json"
    if not recommended.is_file():
        return written
    raw = yaml.safe_load(path.read_text())
    return JobConfig.model_validate(
        raw | {"method": with_recommended(raw["method"], json.loads(recommended.read_text()))}
    )


def run_job(job: JobConfig, out: Path, reporter: Reporter, stop: Stop) -> Path:
    """Run a job, or go on with it, and return the folder of the finished model.

    Args:
        job: what to do.
        out: the job's folder: ``model/``, ``metrics.jsonl``, ``grid-base.png``, ``grid-01.png``, ...,
            ``work/``.
        reporter: hears of it.
        stop: ends it early where it can be taken up again.

    Raises:
        Stopped: it was asked to stop.
        ValueError: the user's mistake; ``out`` holding another job is one.
    """
    out.mkdir(parents=True, exist_ok=True)
    claim(job, out)
    model = out / "model"
    if model.exists():
        return model
    for unit in planned(job, out):
        if not unit.out.exists():
            stop.check()
            _run(job, unit, reporter, stop)
        grid = unit.out / "grid.png"
        if grid.is_file():
            name = "base" if unit.iteration == EVALUATE_BASE else f"{unit.iteration:02d}"
            shutil.copyfile(grid, out / f"grid-{name}.png")
    move_folder(out / "work" / "published" / "model", model)
    return model


def planned(job: JobConfig, out: Path) -> Iterator[Planned]:
    """Yield the units of a job in order."""
    base, work = folder_of(job.model), out.resolve() / "work"
    data = {"data": _place(job.training_data)}
    if job.validation_data is not None:
        data["validation"] = _place(job.validation_data)
    elsewhere = {} if job.encoded_data is None else {"encoded": job.encoded_data}
    encoded: dict[str, Path | str] = {"base": base, "encoded": work / "encoded", **elsewhere}
    yield Planned("encode", 0, {"base": base, "data": data["data"], **elsewhere}, work / "encoded")
    yield Planned("evaluate", EVALUATE_BASE, {"base": base, **data}, work / "evaluation-base")
    asked = job.method.hyperparameters
    results: dict[int, Path] = {}
    for iteration in asked.iterations:
        folder = work / f"iteration-{iteration:02d}"
        plan, opponent = asked.for_iteration(iteration), asked.opponent(iteration, seed=job.seed)
        inputs = encoded | _named("weights", results.get(iteration - 1))
        if plan.generates:
            drawer = _named("weights", results.get(opponent))
            yield Planned("generate", iteration, encoded | drawer, folder / "rivals")
            inputs |= {"rivals": folder / "rivals"}
        if plan.reference != "none" and not plan.cached and plan.judge == "opponent":
            inputs |= _named("reference", results.get(opponent) if opponent != iteration - 1 else None)
        if plan.gated and "validation" in data:
            inputs |= {"validation": data["validation"]}
        yield Planned("train", iteration, inputs, folder / "trained")
        results[iteration] = folder / "trained" / "weights"
        own = {"base": base, "weights": results[iteration], **data}
        yield Planned("evaluate", iteration, own, folder / "evaluation")
    last = asked.iterations[-1]
    yield Planned("publish", last, {"base": base, "weights": results[last]}, work / "published")


def _place(source: str) -> Path | str:
    """Return a URI as it is, and a path in full."""
    return source if is_remote(source) else Path(source).resolve()


def _named(name: str, folder: Path | None) -> dict[str, Path | str]:
    """Return an input that there may be."""
    return {} if folder is None else {name: folder}


def _run(job: JobConfig, unit: Planned, reporter: Reporter, stop: Stop) -> None:
    """Run a unit beside its final place, then let it appear."""
    partial = unit.out.with_name(f"{unit.out.name}.partial")
    checkpoints = unit.out.parent / "checkpoints"
    spec = UnitSpec(
        kind=unit.kind,
        method=job.method,
        seed=job.seed,
        iteration=unit.iteration,
        inputs={name: place for name, place in unit.inputs.items() if isinstance(place, Path)},
        sources={name: place for name, place in unit.inputs.items() if isinstance(place, str)},
        out=partial,
        resume=checkpoint.newest(checkpoints) if unit.kind == "train" else None,
    )
    run_unit(spec, reporter, stop, keep=KEPT_CHECKPOINTS)
    move_folder(partial, unit.out)
    if unit.kind == "train":
        shutil.rmtree(checkpoints)


def claim(job: JobConfig, out: Path) -> None:
    """Note the job in its folder; ValueError if the folder is another job's."""
    path = out / "job.json"
    text = job.model_dump_json(indent=2) + "\n"
    if not path.exists():
        write_whole(path, text.encode())
    elif path.read_text() != text:
        raise ValueError(f"{out} holds another job (see {path}): choose another --out")
