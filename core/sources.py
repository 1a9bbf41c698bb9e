"""Where a unit's inputs come from: a folder of this host, or objects with their manifest.

A source is written as one string in a row: ``folder:/abs/path``, ``unit:ID/subfolder`` (a part of a unit's
output),
``checkpoint:ID/subfolder``, or ``dataset:ID``.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.methods import hyperparameters_of
from core.models import Checkpoint, Dataset, Job, Unit, UnitKind, UnitState
from core.planner import EVALUATE_BASE

WEIGHTS = "weights"
MODEL = "model"


@dataclass(frozen=True)
class SourceFile:
    """One file of a source: its path inside the folder, and the object that holds it."""

    path: str
    key: str
    sha256: str
    size: int

    def as_json(self) -> dict[str, Any]:
        """Return the entry of a manifest."""
        return {"path": self.path, "key": self.key, "sha256": self.sha256, "size": self.size}


@dataclass(frozen=True)
class Source:
    """A folder of this host, read in place; or files of the store that make a folder."""

    folder: str | None = None
    files: tuple[SourceFile, ...] = ()


@dataclass(frozen=True)
class Work:
    """What a worker needs to run a unit of a job, beside its claim."""

    method: dict[str, Any]
    seed: int
    inputs: dict[str, Source]
    resume: Source | None


def of_manifest(manifest: Iterable[dict[str, Any]], *, subfolder: str = "") -> Source:
    """Return the files of a manifest, or those in a subfolder of it, by their paths there."""
    prefix = f"{subfolder}/" if subfolder else ""
    return Source(
        files=tuple(
            SourceFile(file["path"].removeprefix(prefix), file["key"], file["sha256"], file["size"])
            for file in manifest
            if file["path"].startswith(prefix)
        )
    )


def resolve(session: Session, source: str) -> Source:
    """Return what a source's string means now."""
    kind, _, rest = source.partition(":")
    if kind == "folder":
        return Source(folder=rest)
    row_id, _, subfolder = rest.partition("/")
    match kind:
        case "unit":
            unit = session.get(Unit, row_id)
            assert unit is not None, f"{source}: no such unit"
            assert unit.output is not None, f"{source}: no output yet"
            return of_manifest(unit.output["files"], subfolder=subfolder)
        case "checkpoint":
            checkpoint = session.get(Checkpoint, row_id)
            assert checkpoint is not None, f"{source}: no such checkpoint"
            return of_manifest(checkpoint.files, subfolder=subfolder)
        case "dataset":
            dataset = session.get(Dataset, row_id)
            assert dataset is not None, f"{source}: no such dataset"
            assert dataset.shards is not None, f"{source}: not ready"
            return of_manifest(dataset.shards)
    raise AssertionError(f"unknown kind of source: {source}")


def work_for(session: Session, *, unit_id: str) -> Work:
    """Return what a job's unit works with.

    ``weights`` are those of the last iteration before the unit's own (for ``train``), of its opponent (for
    ``generate``), or of its own (for ``evaluate`` and ``publish``); before the first iteration, what the job
    started from, if that was a checkpoint. ``reference`` are those of a reference that is neither.
    """
    unit = session.get(Unit, unit_id)
    assert unit is not None, f"there is no unit {unit_id}"
    assert unit.job_id is not None, f"{unit_id} is no unit of a job"
    job = session.get(Job, unit.job_id)
    assert job is not None
    done = select(Unit).where(Unit.job_id == job.id, Unit.state == UnitState.succeeded)
    siblings = list(session.scalars(done))
    inputs = {"base": resolve(session, job.pipeline)}
    if unit.kind in (UnitKind.encode, UnitKind.evaluate):
        inputs["data"] = resolve(session, f"dataset:{job.dataset_id}")
    if job.validation_dataset_id is not None and _is_shown(unit, job):
        inputs["validation"] = resolve(session, f"dataset:{job.validation_dataset_id}")
    if unit.kind in (UnitKind.generate, UnitKind.train, UnitKind.evaluate):
        inputs["encoded"] = _outputs(siblings, UnitKind.encode)
    if unit.kind is not UnitKind.encode:
        inputs |= _weights(session, job, unit, siblings)
    if unit.kind is UnitKind.train:
        same = [one for one in siblings if one.iteration == unit.iteration]
        rivals = [one for one in same if one.kind is UnitKind.generate]
        if rivals:
            inputs["rivals"] = _outputs(rivals, UnitKind.generate)
    method = _in_smaller_batches(job.method, unit.micro_batch)
    return Work(method, job.seed, inputs, _resume(session, unit) if unit.kind is UnitKind.train else None)


def _in_smaller_batches(method: dict[str, Any], most: int | None) -> dict[str, Any]:
    """Return a method with at most so many captions at once: with more, memory ran out."""
    if most is None:
        return method
    chosen = method[method["type"]]
    asked = chosen["hyperparameters"] | {"micro_batch_size": most}
    return method | {method["type"]: chosen | {"hyperparameters": asked}}


def _is_shown(unit: Unit, job: Job) -> bool:
    """Return whether a unit looks at held-out data: to measure, or for a gate."""
    if unit.kind is UnitKind.train:
        return hyperparameters_of(job.method).for_iteration(unit.iteration).gated
    return unit.kind is UnitKind.evaluate


def _outputs(units: list[Unit], kind: UnitKind) -> Source:
    files: list[SourceFile] = []
    for unit in sorted(units, key=lambda unit: unit.position):
        if unit.kind is kind:
            assert unit.output is not None, f"{unit.id} succeeded without an output"
            files.extend(of_manifest(unit.output["files"]).files)
    return Source(files=tuple(files))


def _weights(session: Session, job: Job, unit: Unit, siblings: list[Unit]) -> dict[str, Source]:
    """Return ``weights`` and ``reference`` of a unit, as far as it has them."""
    last = unit.iteration
    wanted: dict[str, int] = {"weights": last}
    if unit.kind in (UnitKind.generate, UnitKind.train):
        asked = hyperparameters_of(job.method)
        plan, opponent = asked.for_iteration(last), asked.opponent(last, seed=job.seed)
        wanted = {"weights": opponent if unit.kind is UnitKind.generate else last - 1}
        asks = plan.reference != "none" and plan.cached == (unit.kind is UnitKind.generate)
        if asks and plan.judge == "base":
            wanted["reference"] = EVALUATE_BASE
        elif asks and opponent != wanted["weights"]:
            wanted["reference"] = opponent
    found = {name: _trained(session, job, newest, siblings) for name, newest in wanted.items()}
    return {name: source for name, source in found.items() if source is not None}


def _trained(session: Session, job: Job, newest: int, siblings: list[Unit]) -> Source | None:
    """Return the weights of an iteration, or of the last before it; before the first, what the job had."""
    trained = [one for one in siblings if one.kind is UnitKind.train and one.iteration <= newest]
    if trained:
        last = max(trained, key=lambda one: one.iteration)
        return resolve(session, f"unit:{last.id}/{WEIGHTS}")
    return resolve(session, job.weights) if job.weights is not None else None


def _resume(session: Session, unit: Unit) -> Source | None:
    newest = session.scalar(
        select(Checkpoint).where(Checkpoint.unit_id == unit.id).order_by(Checkpoint.step.desc()).limit(1)
    )
    return None if newest is None else of_manifest(newest.files)
