"""A child is supervised to the end: its lines, its signals, and that it never outlives its supervisor."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.worker.processes import gone, within
from worker.child import ROOT, Child, environment
from worker.lease import Lease, Order
from worker.outcome import failure, without_secrets

PATIENCE = 30.0  # seconds; less than the scripts sleep
STOPS_WELL = """
import json, signal, sys, time
def stop(*_):
    print(json.dumps({"type": "checkpoint", "step": 7}), flush=True)
    sys.exit(75)
signal.signal(signal.SIGTERM, stop)
print(json.dumps({"type": "progress", "step": 1}), flush=True)
time.sleep(60)
"""
HAS_A_CHILD_THAT_IGNORES_TERM = """
import json, os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(json.dumps({"type": "progress", "pids": [os.getpid(), other.pid]}), flush=True)
time.sleep(60)
"""
SUPERVISOR = """
import sys
from pathlib import Path
from tests.worker.processes import gone, within
from worker.child import Child, environment
child = Child([sys.executable, "-c", sys.argv[1]], env=environment(), folder=Path(sys.argv[2]))
while not (lines := child.hear(0.1)[0]): pass
print(child.pid, *lines[0]["pids"], flush=True)
child.wait()
"""


def start(tmp_path: Path, script: str) -> Child:
    return Child([sys.executable, "-c", script], env=environment(), folder=tmp_path)


def test_a_child_keeps_compiled_modules_though_its_worker_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("SPINDLE_SECRET", "s" * 32)
    (tmp_path / "noun.py").write_text("")
    child = start(tmp_path, "import os, sys; sys.path.insert(0, ''); import noun; print(dict(os.environ))")
    assert child.wait().code == 0
    assert [path.name.partition(".")[0] for path in (tmp_path / "__pycache__").iterdir()] == ["noun"]
    assert not {"PYTHONDONTWRITEBYTECODE", "SPINDLE_SECRET"} & environment().keys()


def first_line(child: Child) -> dict[str, object]:
    while True:
        lines, more = child.hear(0.05)
        if lines:
            return lines[0]
        assert more, "the child ended without a line"


def lease(**changes: object) -> Lease:
    arguments: dict[str, object] = {
        "renew": lambda: True,
        "wish": lambda: Order.go_on,
        "seconds": 0.6,
        "draining": threading.Event(),
        "grace": PATIENCE,
    }
    return Lease(**(arguments | changes))  # type: ignore[arg-type]  # a dict of changes has no types of its own


def test_lines_are_heard_in_order_and_other_output_is_passed_over(tmp_path: Path) -> None:
    child = start(tmp_path, """print('{"type": "a"}\\nnoise\\n[1]\\n{"type": "b"}')""")
    lines, more = child.hear(PATIENCE)
    assert [line["type"] for line in lines] == ["a", "b"]
    assert not more
    ending = child.wait()
    assert (ending.code, ending.signal, ending.error) == (0, None, None)


def test_a_child_asked_to_stop_checkpoints_and_exits_75(tmp_path: Path) -> None:
    child = start(tmp_path, STOPS_WELL)
    draining = threading.Event()
    with lease(draining=draining) as held:
        held.guard(child)
        assert first_line(child)["step"] == 1
        draining.set()
        assert first_line(child) == {"type": "checkpoint", "step": 7}
        assert child.wait().code == 75
    assert held.order is Order.stop


def test_a_child_that_does_not_stop_is_killed_with_its_group_after_the_grace(tmp_path: Path) -> None:
    child = start(tmp_path, HAS_A_CHILD_THAT_IGNORES_TERM)
    with lease(wish=lambda: Order.stop, grace=0.2) as held:
        pids = first_line(child)["pids"]
        held.guard(child)
        assert child.wait().signal == signal.SIGKILL
    assert within(PATIENCE, lambda: all(gone(pid) for pid in pids))  # type: ignore[attr-defined]  # JSON


def test_a_renewal_that_touches_no_row_kills_the_whole_group(tmp_path: Path) -> None:
    child = start(tmp_path, HAS_A_CHILD_THAT_IGNORES_TERM)
    pids = first_line(child)["pids"]
    with lease(renew=lambda: False) as held:
        held.guard(child)
        assert child.wait().signal == signal.SIGKILL
        assert held.order is Order.lost
    assert within(PATIENCE, lambda: all(gone(pid) for pid in pids))  # type: ignore[attr-defined]  # JSON


def test_a_graver_order_stands() -> None:
    held = lease()
    held.give(Order.cancel)
    held.give(Order.stop)
    assert held.order is Order.cancel


def test_a_child_dies_with_its_killed_supervisor(tmp_path: Path) -> None:
    supervisor = subprocess.Popen(
        [
            sys.executable,
            "-c",
            SUPERVISOR,
            HAS_A_CHILD_THAT_IGNORES_TERM,
            str(tmp_path),
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert supervisor.stdout is not None
    with supervisor:
        pids = [int(pid) for pid in supervisor.stdout.readline().split()]
        assert len(pids) == 3
        supervisor.kill()
    assert within(PATIENCE, lambda: all(gone(pid) for pid in pids))


def test_killing_the_leash_alone_takes_the_child_along(tmp_path: Path) -> None:
    child = start(tmp_path, HAS_A_CHILD_THAT_IGNORES_TERM)
    pids = first_line(child)["pids"]
    os.kill(child.pid, signal.SIGKILL)
    ending = child.wait()
    assert ending.signal == signal.SIGKILL
    assert within(PATIENCE, lambda: all(gone(pid) for pid in pids))  # type: ignore[attr-defined]  # JSON


@pytest.mark.parametrize(
    ("script", "reason", "says"),
    [
        ("""print('{"type": "error", "reason": "user_error", "message": "blank"}'); raise SystemExit(65)""",
         "user_error", "blank"),
        ("import sys; sys.exit(71)", "out_of_memory", "exit code 71"),
        ("import os; os.kill(os.getpid(), 9)", "worker_lost", "SIGKILL"),
        ("import os; os.kill(os.getpid(), 11)", "internal", "SIGSEGV"),
        ("import os; os.write(2, b'CUDA error: unspecified launch failure\\n'); os.abort()",
         "device_lost", "unspecified launch failure"),
        ("import os; raise OSError(28, os.strerror(28))", "disk_full", "No space left"),
        ("raise RuntimeError('see s3://user:hunter2@host')", "internal", "see s3://***@host"),
        ("""print('{"type": "error", "reason": "spilt coffee", "message": "oh"}'); raise SystemExit(1)""",
         "internal", "oh"),
    ],
)  # fmt: skip
def test_reasons_are_told_apart(tmp_path: Path, script: str, reason: str, says: str) -> None:
    child = start(tmp_path, script)
    failed = failure(child.wait())
    assert failed.reason == reason
    assert says in failed.message
    assert "hunter2" not in failed.message


def test_secrets_are_blanked() -> None:
    said = "postgresql://u:p@h/db hf_abcdefghijkl password=xyz Bearer abcdefghijk.lm X-Amz-Signature=00ff"
    assert without_secrets(said) == ("postgresql://***@h/db *** password=*** Bearer *** X-Amz-Signature=***")


def test_the_child_is_told_no_address_of_the_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPINDLE_DATABASE_URL", "postgresql://u:p@h/db")
    known = environment()
    assert not [name for name in known if name.startswith("SPINDLE_")]
    assert int(known["OMP_NUM_THREADS"]) >= 1
