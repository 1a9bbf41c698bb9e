"""The command line: real processes, real signals."""

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError

from spin_engine import checkpoint
from spin_engine.__main__ import main
from spin_engine.unit import EXIT_CODES, reason_of
from spin_engine.unit_spec import UnitSpec
from spin_engine.weights import ADAPTER_FILE
from tests.spin_engine.conftest import method, run

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}
STEPS = 120


@pytest.fixture
def training(pipeline: Path, encoded: Path) -> dict[str, Any]:
    """Return a training long enough to be hit in the middle."""
    return {
        "kind": "train",
        "method": method(sft_steps=STEPS, checkpoint_every=3, micro_batch_size=None),
        "seed": 5,
        "iteration": 0,
        "inputs": {"base": pipeline, "encoded": encoded},
    }


def start(folder: Path, **spec: Any) -> subprocess.Popen[str]:
    """Start a unit in a process of its own."""
    folder.mkdir(parents=True)
    (folder / "spec.json").write_text(UnitSpec(out=folder / "out", **spec).model_dump_json())
    command = [sys.executable, "-m", "spin_engine", "unit", str(folder / "spec.json")]
    # A small pipe: it cannot run far ahead of who reads what it tells.
    return subprocess.Popen(command, stdout=subprocess.PIPE, pipesize=4096, text=True, env=ENVIRONMENT)


def hit(child: subprocess.Popen[str], number: signal.Signals) -> list[dict[str, Any]]:
    """Send a signal when eight steps are done, wait for the end, and return what came on stdout."""
    assert child.stdout is not None
    lines: list[dict[str, Any]] = []
    while sum(line["type"] == "metrics" for line in lines) < 8:
        lines.append(json.loads(child.stdout.readline()))
    child.send_signal(number)
    with child.stdout as stdout:
        rest = stdout.read()
    child.wait(timeout=60)
    return lines + [json.loads(line) for line in rest.splitlines() if line.endswith("}")]


def without_spans(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [line for line in lines if line["type"] != "span"]


def test_stopped_it_goes_on_to_the_same_bits(training: dict[str, Any], tmp_path: Path) -> None:
    """By a signal, in a process of its own; of those that are killed test_killed has many."""
    stopped = start(tmp_path / "stopped", **training)
    lines = hit(stopped, signal.SIGTERM)
    assert stopped.returncode == 75
    last = [line for line in lines if line["type"] == "metrics"][-1]["step"]
    checkpointed = without_spans(lines)[-1]
    assert (checkpointed["type"], checkpointed["step"]) == ("checkpoint", last)
    assert 8 <= last < STEPS
    run(out=tmp_path / "whole" / "out", **training)
    whole = (tmp_path / "whole" / "out" / "weights" / ADAPTER_FILE).read_bytes()
    out = tmp_path / "stopped" / "out"
    assert not (out / "weights").exists()
    newest = checkpoint.newest(tmp_path / "stopped" / "checkpoints")
    assert newest is not None
    heard = run(out=out, resume=newest, **training)
    assert without_spans(heard.lines)[0]["step"] == checkpoint.verify(newest).step + 1
    assert (out / "weights" / ADAPTER_FILE).read_bytes() == whole


@pytest.fixture
def own_signals() -> Iterator[None]:
    """Put the handlers back that a command has set."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("own_signals")
def test_stdout_is_json_lines_and_mistakes_have_a_reason(
    training: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "base").mkdir()
    inputs = training["inputs"] | {"base": tmp_path / "base"}
    spec = UnitSpec(out=tmp_path / "out", **training | {"inputs": inputs})
    (tmp_path / "spec.json").write_text(spec.model_dump_json())
    assert main(["unit", str(tmp_path / "spec.json")]) == 65
    shown = capfd.readouterr()
    (line,) = without_spans([json.loads(each) for each in shown.out.splitlines()])
    assert line == {
        "type": "error",
        "reason": "user_error",
        "message": f"{tmp_path / 'base'} is not a diffusers pipeline: it has no model_index.json",
    }
    assert "Traceback" in shown.err


def test_help_names_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    for text in ("CONFIG.yaml --out DIR", "unit SPEC.json", "serve", "exit codes: 0 done; 75 stopped"):
        assert text in shown


@pytest.mark.usefixtures("own_signals")
def test_a_wrong_config_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "job.yaml"
    config.write_text("model: absent\ntraining_data: x\nmethod: {type: sft}\n")
    assert main([str(config), "--out", str(tmp_path / "out")]) == 65
    shown = capsys.readouterr()
    assert shown.err == "user error: absent is not a folder, nor ORG/NAME of a hub, nor a URI\n"
    assert shown.out == ""
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("error", "reason", "code"),
    [
        (ValueError("x"), "user_error", 65),
        (MemoryError(), "out_of_memory", 71),
        (torch.OutOfMemoryError("CUDA out of memory"), "out_of_memory", 71),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "out_of_memory", 71),
        (RuntimeError("CUDA error: unspecified launch failure"), "device_lost", 70),
        (OSError(errno.ENOSPC, "No space left on device"), "disk_full", 70),
        (SafetensorError("I/O error: No space left on device (os error 28)"), "disk_full", 70),
        (OSError(errno.EIO, "x"), "internal", 70),
        (RuntimeError("x"), "internal", 70),
        (KeyError("x"), "internal", 70),
    ],
)
def test_failures_are_told_apart(error: Exception, reason: str, code: int) -> None:
    assert reason_of(error) == reason
    assert EXIT_CODES[reason_of(error)] == code
