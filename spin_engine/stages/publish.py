"""``publish``: base and weights become one pipeline folder that plain diffusers loads."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from spin_engine import lineage
from spin_engine import weights as weights_folder
from spin_engine.device import accelerator
from spin_engine.families.loader import load
from spin_engine.phases import phase
from spin_engine.reporter import Progress, Reporter
from spin_engine.stopping import Stop
from spin_engine.unit_spec import UnitSpec

PICKLED = frozenset({".bin", ".ckpt", ".pt", ".pth", ".pkl", ".msgpack"})


def run(spec: UnitSpec, reporter: Reporter, stop: Stop) -> None:
    """Read ``base`` and ``weights``; write ``model/`` into ``out``.

    The denoiser holds the merged weights; an adapter lies beside as ``pytorch_lora_weights.safetensors`` too.
    The rest is copied from the base, ``spindle/`` included, except what is pickled and single-file copies of
    the whole pipeline; ``spindle/lineage.json`` says what the weights came from.
    """
    stop.check()
    progress = Progress(reporter, "publish", 1)
    with phase(reporter, "publish"):
        publish(spec.inputs["base"], spec.inputs["weights"], spec.out / "model")
    progress.advance()


def publish(base: Path, weights: Path, model: Path) -> None:
    """Write a pipeline with weights on top into a folder, as ``run`` tells."""
    shutil.rmtree(model, ignore_errors=True)
    family = load(base, weights, accelerator().device)
    shutil.copytree(base, model, ignore=_left_out(base, family.layout.subfolder))
    denoiser = family.denoiser
    weights_folder.merge_adapter(denoiser)
    denoiser.save_pretrained(model / family.layout.subfolder, safe_serialization=True)
    if weights_folder.kind_of(weights) == "lora":
        shutil.copyfile(weights / weights_folder.ADAPTER_FILE, model / weights_folder.ADAPTER_FILE)
    came_from = lineage.lineage_of(base, weights)
    (model / lineage.PUBLISHED).parent.mkdir(exist_ok=True)
    (model / lineage.PUBLISHED).write_text(json.dumps(came_from, indent=2) + "\n")


def copy_extras(base: Path, model: Path) -> None:
    """Give a pipeline folder what its base recommends and is judged by, but not where the base came from."""
    extras = base / lineage.PUBLISHED.parent
    if extras.is_dir():
        without = shutil.ignore_patterns(lineage.PUBLISHED.name)
        shutil.copytree(extras, model / lineage.PUBLISHED.parent, ignore=without, dirs_exist_ok=True)


def _left_out(base: Path, denoiser: str) -> Callable[[str, list[str]], set[str]]:
    """Return a filter for ``shutil.copytree``: the denoiser, pickles, and weights at the top of the base."""

    def ignore(folder: str, names: list[str]) -> set[str]:
        found = {name for name in names if Path(name).suffix in PICKLED}
        if Path(folder) == base:
            others = (denoiser, ".git", ".cache")
            found |= {name for name in names if name in others or name.endswith(".safetensors")}
        return found

    return ignore
