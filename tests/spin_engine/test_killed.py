"""kill -9 at twenty random moments, over families and objectives: the weights are those of a quiet run.

To the bit. The killed are forked from a warm process, as a worker's units are, and one that is not, a fresh
``python -m spin_engine unit``, ends with the same bits as well. A moment is a number of steps that were told
and some milliseconds after, so that it falls into steps and into the writing of checkpoints alike.
"""

import json
import random
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from spin_engine import checkpoint
from spin_engine.config import Method
from spin_engine.unit_spec import UnitSpec
from tests.spin_engine.test_trainer import same_bits
from tests.tiny import build_dataset
from tests.tiny_families import SIDE, build
from worker.child import Child, environment
from worker.warm import ENGINE, Warm

STEPS = 8
ENVIRONMENT = environment() | {"OMP_NUM_THREADS": "1"}
COMMON = {
    "batch_size": 2, "micro_batch_size": 1, "resolution": SIDE, "warmup": 0.5, "checkpoint_every": 2,
    "learning_rate": 1e-3, "steps": STEPS, "prompt_dropout": 0.2,
}  # fmt: skip
ROUNDS = {"n_iterations": 1, "rival_steps": 2}
LORA, FULL = {"adapter": "lora", "rank": 2}, {"adapter": "full"}
CASES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "sd-spin": ("sd-epsilon", "spin", LORA | ROUNDS),
    "sd-spin-online-mean": ("sd-v", "spin", FULL | ROUNDS | {"reference": "online", "ema_decay": 0.9}),
    "sd-sft": ("sd-epsilon", "sft", FULL | {"gradient_checkpointing": True}),
    "sd-dpo": ("sd-epsilon", "dpo", LORA | {"ema_decay": 0.99}),
    "sd-mapo": ("sd-epsilon", "mapo", LORA),
    "sd-kto": ("sd-epsilon", "kto", LORA),
    "sdxl-dpo": ("sdxl", "dpo", LORA),
    "sd3-spin": ("sd3", "spin", LORA | ROUNDS),
    "flux-sft": ("flux-dev", "sft", FULL),
    "flux-dro": ("flux-dev", "dro", LORA | ROUNDS),
}
"""Name -> family (``tests.tiny_families``), method, settings: add a line for a new family or method."""
KILLS = 2
"""A case: 20 in all."""


@dataclass(frozen=True)
class Server:
    """Starts units as a worker does."""

    warm: Warm

    def run(self, spec: UnitSpec, kill: Callable[[Child], None] | None = None, *, fresh: bool = False) -> int:
        """Run a unit and return its exit code; ``kill`` waits for the moment to kill it, if at all."""
        folder = spec.out.parent
        folder.mkdir(parents=True, exist_ok=True)
        written = folder / "spec.json"
        written.write_text(spec.model_dump_json())
        child = Child(
            [*ENGINE, "unit", str(written)],
            env=ENVIRONMENT,
            folder=folder,
            warm=None if fresh else self.warm,
        )
        if kill is not None:
            kill(child)
            child.kill()
        ending = child.wait()
        return -ending.signal if ending.signal else ending.code


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    warm = Warm(tmp_path_factory.mktemp("warm"), env=ENVIRONMENT, idle_seconds=600)
    assert warm.ready(go_on=lambda: True)
    yield Server(warm)
    warm.stop()


@pytest.fixture(scope="module")
def paired(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return six rows, each with the next one's picture as its loser."""
    folder = tmp_path_factory.mktemp("paired")
    build_dataset(folder, 7)
    lines = [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()][:6]
    for index, line in enumerate(lines):
        line["loser_file_name"] = f"{index + 1:05d}.png"
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return folder


@dataclass(frozen=True)
class Case:
    """A training, ready to run."""

    server: Server
    spec: dict[str, Any]

    def train(self, folder: Path, kill: Callable[[Child], None] | None = None, *, fresh: bool = False) -> int:
        """Run it in a folder, or go on there, and return the exit code."""
        newest = checkpoint.newest(folder / "checkpoints") if folder.exists() else None
        return self.server.run(UnitSpec(**self.spec, out=folder / "out", resume=newest), kill, fresh=fresh)


@pytest.fixture
def case(request: pytest.FixtureRequest, server: Server, paired: Path, tmp_path: Path) -> Case:
    family, kind, hyper = CASES[request.param]
    build(family, tmp_path / "base")
    body = {"type": kind, kind: {"hyperparameters": COMMON | hyper}}
    method = TypeAdapter[Method](Method).validate_python(body)
    common = {"method": method, "seed": 5, "iteration": 1}
    inputs = {"base": tmp_path / "base", "data": paired}
    encoded = tmp_path / "encoded" / "out"
    assert server.run(UnitSpec(kind="encode", inputs=inputs, out=encoded, **common)) == 0
    inputs = {"base": tmp_path / "base", "encoded": encoded}
    if method.hyperparameters.for_iteration(1).generates:
        rivals = tmp_path / "rivals" / "out"
        assert server.run(UnitSpec(kind="generate", inputs=inputs, out=rivals, **common)) == 0
        inputs = inputs | {"rivals": rivals}
    return Case(server, {"kind": "train", "inputs": inputs, **common})


def at_random(moment: random.Random, steps: int) -> Callable[[Child], None]:
    """Return what waits until some of the steps to come are told, and a little longer."""
    few, milliseconds = moment.randrange(steps), moment.uniform(0, 30)

    def wait(child: Child) -> None:
        deadline, told, more = time.monotonic() + 120, 0, True
        while told <= few and more and time.monotonic() < deadline:
            lines, more = child.hear(0.001)
            told += [line["type"] for line in lines].count("metrics")
        time.sleep(milliseconds / 1000)

    return wait


@pytest.mark.parametrize("case", CASES, indirect=True)
def test_killed_anywhere_it_ends_with_the_same_bits(
    case: Case, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    moment = random.Random(request.node.callspec.params["case"])
    assert case.train(tmp_path / "quiet") == 0
    killed, attempt = 0, 0
    while killed < KILLS:
        folder = tmp_path / f"killed-{attempt}"
        newest = checkpoint.newest(folder / "checkpoints") if folder.exists() else None
        left = STEPS - (0 if newest is None else checkpoint.verify(newest).step)
        code = case.train(folder, at_random(moment, left)) if left else case.train(folder)
        assert code in (0, -signal.SIGKILL)
        killed += code == -signal.SIGKILL
        attempt += code == 0
    assert case.train(tmp_path / f"killed-{attempt}") == 0
    for number in range(attempt + 1):
        assert same_bits(tmp_path / "quiet" / "out", tmp_path / f"killed-{number}" / "out")


@pytest.mark.parametrize("case", ["sd-spin"], indirect=True)
def test_a_unit_forked_warm_ends_with_the_bits_of_a_fresh_one(case: Case, tmp_path: Path) -> None:
    assert case.train(tmp_path / "warm") == 0
    assert case.train(tmp_path / "fresh", fresh=True) == 0
    assert same_bits(tmp_path / "warm" / "out", tmp_path / "fresh" / "out")
