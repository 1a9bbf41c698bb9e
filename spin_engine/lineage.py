"""What weights came from: one entry an iteration, the first one first, in sums and numbers alone.

An entry names what an iteration started from by the sha256 of its ``weights.json``, which has the sums of
its files and its own lineage; so the entries are a chain. No paths, names or times are in it: training again
from the same things, or going on after a kill, gives the same entry.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from spin_engine import weights
from spin_engine.files import sha256_of
from spin_engine.hyperparameters import IterationPlan
from spin_engine.packages import versions
from spin_engine.unit_spec import UnitSpec

PUBLISHED = Path("spindle") / "lineage.json"
"""Where a published model has it."""

Entry = dict[str, Any]


def digest(folder: Path) -> str:
    """Return the sha256 of a folder's safetensors, of their names and sums as ``sha256sum`` lists them."""
    paths = sorted(folder.rglob("*.safetensors"))
    lines = [f"{sha256_of(path)}  {path.relative_to(folder).as_posix()}\n" for path in paths]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def lineage_of(base: Path, start: Path | None) -> list[Entry]:
    """Return the entries of what an iteration starts from: of weights, or of a base that was published."""
    if start is not None:
        return list(weights.about(start).get("lineage", []))
    published = base / PUBLISHED
    return list(json.loads(published.read_text())) if published.is_file() else []


def extended(spec: UnitSpec, plan: IterationPlan, *, denoiser: str, encoded: str) -> list[Entry]:
    """Return the lineage of what a training unit makes.

    Args:
        spec: of the unit.
        plan: of its iteration.
        denoiser: subfolder of the base that holds the denoiser.
        encoded: key of the encoded data.
    """
    settings, inputs = spec.method.hyperparameters, spec.inputs
    start = inputs.get("weights")
    before = lineage_of(inputs["base"], start)
    entry: Entry = {
        "iteration": spec.iteration,
        "method": spec.method.type,
        "objective": plan.objective,
        "settings": hashlib.sha256(spec.method.model_dump_json().encode()).hexdigest(),
        "steps": plan.steps,
        "learning_rate": plan.learning_rate,
        "constants": dict(plan.constants),
        "batch_size": settings.batch_size,
        "adapter": settings.adapter,
        "rank": settings.rank,
        "seed": spec.seed,
        "encoded": encoded,
        "versions": versions(),
    }
    if start is None or not before:
        entry["base"] = digest(inputs["base"] / denoiser)
    if start is not None:
        entry["start"] = _sum_of(start)
    if "rivals" in inputs:
        entry["rivals"] = digest(inputs["rivals"])
        entry["opponent"] = settings.opponent(spec.iteration, seed=spec.seed)
    if "reference" in inputs:
        entry["reference"] = _sum_of(inputs["reference"])
    return [*before, entry]


def _sum_of(folder: Path) -> str:
    """Return the sum that names a weights folder: of its description, or of its files if it has none."""
    described = folder / weights.DESCRIPTION
    return sha256_of(described) if described.is_file() else digest(folder)
