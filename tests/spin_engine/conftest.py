"""A tiny pipeline and data set for the whole session, and units run in this process."""

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter

from spin_engine.config import Method
from spin_engine.order import Layout
from spin_engine.reporter import Line
from spin_engine.stopping import Stop
from spin_engine.unit import run_unit
from spin_engine.unit_spec import UnitSpec
from tests.tiny import build_dataset, build_pipeline

# The engine collects garbage when it lets a model go: what the imports left need not be walked each time.
gc.collect()
gc.freeze()
# Bits depend on the number of threads, and two that wait for each other on a busy core take minutes.
torch.set_num_threads(1)

ROWS = 12
LAYOUT = Layout((ROWS,), (0,))
SPIN = {
    "n_iterations": 2,
    "steps": 4,
    "learning_rate": 1e-3,
    "beta": 200.0,
    "batch_size": 4,
    "micro_batch_size": 2,
    "rank": 4,
    "rival_steps": 2,
    "checkpoint_every": 2,
    "eval_samples": 3,
    "eval_steps": 2,
    "warmup": 0.0,
    "schedule": "constant",
}


class Recorder:
    """Keeps the lines it is sent, and may be told to do something about them."""

    def __init__(self, heard: Callable[[Line], None] | None = None) -> None:
        self.lines: list[Line] = []
        self._heard = heard

    def send(self, line: Line) -> None:
        """Take one line."""
        self.lines.append(line)
        if self._heard is not None:
            self._heard(line)

    def values(self, name: str) -> list[float]:
        """Return one metric of every step that has it."""
        return [line["values"][name] for line in self.lines if line["type"] == "metrics"]


def method(**changes: Any) -> Method:
    """Return self-play at tiny sizes."""
    return TypeAdapter[Method](Method).validate_python(
        {"type": "spin", "spin": {"hyperparameters": SPIN | changes}}
    )


def run(
    kind: str, out: Path, *, stop: Stop | None = None, reporter: Recorder | None = None, **spec: Any
) -> Recorder:
    """Run one unit in this process and return what it told."""
    settings = {"method": method(), "seed": 5, "iteration": 1, **spec, "kind": kind, "out": out}
    heard = reporter or Recorder()
    run_unit(UnitSpec.model_validate(settings), heard, stop or Stop())
    return heard


@pytest.fixture(scope="session")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pipeline") / "v"
    build_pipeline(folder)
    return folder


@pytest.fixture(scope="session")
def epsilon_pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pipeline") / "epsilon"
    build_pipeline(folder, "epsilon")
    return folder


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dataset")
    build_dataset(folder, ROWS)
    return folder


@pytest.fixture(scope="session")
def encoded(pipeline: Path, dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("encoded")
    run("encode", out, inputs={"base": pipeline, "data": dataset})
    return out


@pytest.fixture(scope="session")
def rivals(pipeline: Path, encoded: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("rivals")
    run("generate", out, inputs={"base": pipeline, "encoded": encoded})
    return out
