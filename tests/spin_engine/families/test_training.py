"""Every family trains through the real stages, and plain diffusers loads what comes out of it."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter

from spin_engine.config import Method
from spin_engine.families.loader import load
from spin_engine.sampler import draw
from spin_engine.weights import ADAPTER_FILE, kind_of
from tests.spin_engine.conftest import Recorder, run
from tests.spin_engine.families.conftest import Base
from tests.tiny import build_dataset
from tests.tiny_families import PIPELINES, SIDE

METHODS = ("spin", "sft", "dpo")
ADAPTERS = ("lora", "full")
VARIANTS = ("sd-v", "sd3-without-t5", "flux-schnell")
"""Pipelines that differ from another in one thing each, which test_parity looks at."""
MATRIX = (
    *product([name for name in PIPELINES if name not in VARIANTS], METHODS, ADAPTERS),
    *product(VARIANTS, ("spin",), ("lora",)),
)
EVERY = pytest.mark.parametrize(("name", "method", "adapter"), MATRIX)
COMMON = {
    "steps": 2,
    "learning_rate": 0.1,
    "batch_size": 2,
    "resolution": SIDE,
    "warmup": 0.0,
    "schedule": "constant",
}
SPIN = {"n_iterations": 1, "beta": 200.0, "rival_steps": 2}
OF_METHOD: dict[str, dict[str, Any]] = {"spin": SPIN, "sft": {}, "dpo": {"beta": 200.0}}
PLAIN = Path(__file__).with_name("plain_diffusers.py")


@dataclass(frozen=True)
class Trained:
    """What a job left behind."""

    weights: Path
    model: Path
    heard: Recorder


Job = Callable[[str, str, str], Trained]


def settings(method: str, adapter: str) -> Method:
    hyper = COMMON | OF_METHOD[method] | {"adapter": adapter} | ({"rank": 2} if adapter == "lora" else {})
    return TypeAdapter[Method](Method).validate_python({"type": method, method: {"hyperparameters": hyper}})


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data set of four rows, each with the next one's picture as its loser."""
    folder = tmp_path_factory.mktemp("pairs")
    build_dataset(folder, 5)
    lines = [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()][:4]
    for index, line in enumerate(lines):
        line["loser_file_name"] = f"{index + 1:05d}.png"
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return folder


@pytest.fixture(scope="session")
def job(base: Base, pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Job:
    """Return a function that runs encode, generate, train and publish, once for each of the matrix."""
    root = tmp_path_factory.mktemp("jobs")
    done: dict[tuple[str, str, str], Trained] = {}

    def once(out: Path, kind: str, method: Method, **inputs: Path) -> Path:
        if not out.exists():
            run(kind, out, method=method, inputs=inputs)
        return out

    def trained(name: str, method: str, adapter: str) -> Trained:
        if (name, method, adapter) not in done:
            chosen = settings(method, adapter)
            common = {"base": base(name)}
            common["encoded"] = once(root / name / "encoded", "encode", chosen, base=base(name), data=pairs)
            inputs = dict(common)
            if chosen.hyperparameters.for_iteration(1).generates:
                inputs["rivals"] = once(root / name / f"{method}-rivals", "generate", chosen, **common)
            out = root / name / f"{method}-{adapter}"
            heard = run("train", out / "out", method=chosen, inputs=inputs)
            weights = out / "out" / "weights"
            run("publish", out / "published", method=chosen, inputs={"base": base(name), "weights": weights})
            done[name, method, adapter] = Trained(weights, out / "published" / "model", heard)
        return done[name, method, adapter]

    return trained


@EVERY
def test_trains(name: str, method: str, adapter: str, base: Base, job: Job) -> None:
    made = job(name, method, adapter)
    losses = made.heard.values("loss")
    assert len(losses) == 2
    assert np.isfinite(losses).all()
    assert made.heard.values("skipped") == [0.0, 0.0]
    if method != "sft":
        assert losses[0] == torch.tensor(2.0).log().item()
        assert losses[1] != losses[0]
    assert kind_of(made.weights) == adapter
    subfolder = "unet" if name.startswith("sd-") or name == "sdxl" else "transformer"
    names = {path.name for path in made.weights.iterdir()}
    assert names == {"weights.json", ADAPTER_FILE if adapter == "lora" else subfolder}
    assert (made.model / ADAPTER_FILE).is_file() == (adapter == "lora")
    before, after = load(base(name)).denoiser.state_dict(), load(made.model).denoiser.state_dict()
    assert before.keys() == after.keys()
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert changed
    if adapter == "lora":
        targets = load(base(name)).layout.lora_targets
        assert {key.removesuffix(".weight").endswith(targets) for key in changed} == {True}


def ours(folder: Path, weights: Path | None) -> np.ndarray[Any, Any]:
    """Return the picture that ``plain_diffusers.py`` is asked for."""
    family = load(folder, weights)
    (picture,) = draw(family, ["red circle"], [""], [4], steps=2, guidance=1.0, height=SIDE, width=SIDE)
    return np.asarray(picture, dtype=int)


def test_plain_diffusers_draws_what_was_trained(base: Base, job: Job, tmp_path: Path) -> None:
    """In a process without our code: each published model, and each adapter on its base, up to a grey level.

    Of one method alone: what the files look like does not depend on it.
    """
    asked, expected = [], {}
    for name, _, adapter in [each for each in MATRIX if each[1] == "spin"]:
        made = job(name, "spin", adapter)
        picture = ours(base(name), made.weights)
        assert np.abs(picture - ours(base(name), None)).max() > 10, (name, adapter)
        for folder, weights in [(made.model, None), (base(name), made.weights)][: 1 + (adapter == "lora")]:
            out = str(tmp_path / f"{len(asked)}.npy")
            expected[out] = (name, adapter, picture)
            asked.append(
                {
                    "folder": str(folder),
                    "adapter": weights and str(weights),
                    "side": SIDE,
                    "without_t5": name == "sd3-without-t5",
                    "out": out,
                }
            )
    (tmp_path / "asked.json").write_text(json.dumps(asked))
    ran = subprocess.run(
        [sys.executable, str(PLAIN), str(tmp_path / "asked.json")],
        cwd=tmp_path, env={"PATH": "", "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    for out, (name, adapter, picture) in expected.items():
        assert np.abs(np.load(out).astype(int) - picture).max() <= 1, (name, adapter)
