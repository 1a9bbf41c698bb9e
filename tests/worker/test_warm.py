"""Units forked from a warm process: told, signalled and ended like fresh ones; nothing outlives a worker.

That their bits are those of fresh ones is in tests/spin_engine/test_killed.py; here nothing is imported.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.worker.processes import gone, within
from worker.child import ROOT, Child, Ending, environment
from worker.staging import Interrupted
from worker.warm import ENGINE, Warm

STUB = (sys.executable, "-m", "tests.worker.warm_without_imports")
HOLDS_ON = """
import json, os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(json.dumps({"type": "progress", "pids": [os.getpid(), other.pid]}), flush=True)
time.sleep(60)
"""
WORKER = """
import sys, threading
from pathlib import Path
from tests.worker.test_warm import first_line, forked, warmed
warm = warmed(Path(sys.argv[1]))
child = forked(warm, Path(sys.argv[1]), sys.argv[2])
print("pids", warm.pid, child.pid, *first_line(child)["pids"], flush=True)
child.wait()
"""


def warmed(folder: Path, *words: str, idle: float = 600.0) -> Warm:
    env = environment() | {"PYTHONPATH": str(ROOT)}
    return Warm(folder, env=env, idle_seconds=idle, command=[*STUB, *words])


def forked(warm: Warm, folder: Path, script: str) -> Child:
    assert warm.ready(go_on=lambda: True)
    (folder / "spec.json").write_text(script)
    command = [*ENGINE, "unit", str(folder / "spec.json")]
    return Child(command, env=environment(), folder=folder, warm=warm)


def first_line(child: Child) -> dict[str, list[int]]:
    more = True
    while more:
        lines, more = child.hear(0.1)
        if lines:
            return lines[0]
    raise AssertionError(child.wait().stderr)


@pytest.fixture
def warm(tmp_path: Path) -> Iterator[Warm]:
    made = warmed(tmp_path)
    yield made
    made.stop()


def ended(warm: Warm, folder: Path, script: str) -> Ending:
    return forked(warm, folder, script).wait()


def test_a_forked_unit_is_told_as_a_fresh_one(warm: Warm, tmp_path: Path) -> None:
    def told(script: str) -> tuple[int, int | None, str]:
        ending = ended(warm, tmp_path, script)
        return ending.code, ending.signal, ending.stderr.rpartition("\n")[2]

    assert told("import sys; print('why', file=sys.stderr)") == (0, None, "why")
    assert told("raise SystemExit(75)") == (75, None, "")
    assert told("raise ValueError('no')") == (1, None, "ValueError: no")
    assert told("import os; os.kill(os.getpid(), 11)") == (0, signal.SIGSEGV, "")
    assert told("import signal; signal.raise_signal(15)") == (0, signal.SIGTERM, "")
    ending = ended(
        warm, tmp_path, """print('{"type": "error", "message": "blank"}'); held = b"x" * (200 << 20)"""
    )
    assert ending.error == {"type": "error", "message": "blank"}
    assert ending.peak_memory_bytes > 200 << 20


def test_a_forked_unit_is_at_home_where_a_fresh_one_is(warm: Warm, tmp_path: Path) -> None:
    script = """
import json, os, sys
from pathlib import Path
print(json.dumps({
    "folder": os.getcwd(), "argv": sys.argv, "read": sys.stdin.read(),
    "name": Path("/proc/self/cmdline").read_text(),
    "leads": os.getpgid(0) == os.getsid(0) == os.getppid(), "threads": len(os.listdir("/proc/self/task")),
    "open": [fd for fd in range(100) if os.path.exists(f"/proc/self/fd/{fd}")],
}))
"""
    child = forked(warm, tmp_path, script)
    line = first_line(child)
    spec = str(tmp_path / "spec.json")
    assert str(line.pop("name")).rstrip("\0") == " ".join([*ENGINE, "unit", spec])
    assert line == {
        "type": "answer",
        "folder": str(tmp_path),
        "argv": ["spin_engine", "unit", spec],
        "read": "",
        "leads": True,
        "threads": 1,
        "open": [0, 1, 2],
    }
    assert child.wait().code == 0
    assert "spin_engine" not in Path(f"/proc/{warm.pid}/cmdline").read_text()  # it runs nothing


def test_the_group_is_asked_to_stop_and_answers(warm: Warm, tmp_path: Path) -> None:
    script = (
        "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(75))\n"
        "print('{\"pids\": []}', flush=True); time.sleep(60)"
    )
    child = forked(warm, tmp_path, script)
    first_line(child)
    child.terminate()
    assert child.wait().code == 75


@pytest.mark.parametrize("victim", ["leash", "unit", "group"])
def test_nothing_of_a_killed_unit_stays(warm: Warm, tmp_path: Path, victim: str) -> None:
    child = forked(warm, tmp_path, HOLDS_ON)
    pids = first_line(child)["pids"]
    kill: dict[str, Callable[[], None]] = {
        "leash": lambda: os.kill(child.pid, signal.SIGKILL),
        "unit": lambda: os.kill(pids[0], signal.SIGKILL),
        "group": child.kill,
    }
    kill[victim]()
    assert child.wait().signal == signal.SIGKILL
    assert not [pid for pid in (child.pid, *pids) if Path(f"/proc/{pid}").exists()]  # not even a zombie
    assert ended(warm, tmp_path, "").code == 0


def test_nothing_outlives_a_killed_worker(tmp_path: Path) -> None:
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(tmp_path), HOLDS_ON], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    with worker:
        assert worker.stdout is not None
        said = next(line for line in worker.stdout if line.startswith("pids"))  # there are lines of its log
        pids = [int(pid) for pid in said.split()[1:]]
        assert len(pids) == 4
        worker.kill()
    assert within(30, lambda: all(gone(pid) for pid in pids))


def test_a_unit_outlives_the_warm_process_and_the_next_starts_fresh(warm: Warm, tmp_path: Path) -> None:
    child = forked(warm, tmp_path, "import time\nprint('{\"pids\": []}', flush=True); time.sleep(0.5)")
    first_line(child)
    assert warm.pid is not None
    os.kill(warm.pid, signal.SIGKILL)
    command = [*ENGINE, "--help"]
    with capture_logs() as logs:
        fresh = Child(command, env=environment() | {"PYTHONPATH": str(ROOT)}, folder=tmp_path, warm=warm)
    assert [(line["event"], line["units"]) for line in logs] == [("warm_process_lost", "fresh")]
    assert child.wait().code == 0
    assert fresh.wait().code == 0
    assert ended(warm, tmp_path, "raise SystemExit(3)").code == 3  # there is a new one


@pytest.mark.parametrize(
    ("word", "reasons"),
    [("a-thread", ["2 threads run after the imports"]), ("a-crash", ["it ended 3 times while it imported"])],
)
def test_a_process_that_cannot_be_forked_is_given_up(tmp_path: Path, word: str, reasons: list[str]) -> None:
    warm = warmed(tmp_path, word)
    with capture_logs() as logs:
        assert [warm.ready(go_on=lambda: True) for _ in range(4)] == [False] * 4
    assert [line["reason"] for line in logs if line["event"] == "warm_process_unfit"] == reasons
    assert warm.pid is None


def test_a_driver_that_an_import_opened_forbids_the_fork(tmp_path: Path) -> None:
    code = (
        "import sys; from spin_engine.warm.forking import unfit; print(unfit((sys.argv[1],)))\n"
        "held = open(sys.argv[1]); print(unfit((sys.argv[1],)))"
    )
    driver = tmp_path / "driver"
    driver.touch()
    told = subprocess.run(
        [sys.executable, "-c", code, str(driver)], check=True, cwd=ROOT, capture_output=True, text=True
    )
    assert told.stdout == f"None\nan import opened {driver}\n"


def test_an_order_is_seen_while_it_imports(warm: Warm) -> None:
    with pytest.raises(Interrupted):
        warm.ready(go_on=lambda: False)
    assert warm.ready(go_on=lambda: True)  # it went on importing


def test_it_ends_when_no_unit_came_for_long(tmp_path: Path) -> None:
    warm = warmed(tmp_path, idle=0.01)
    assert warm.ready(go_on=lambda: True)
    pid = warm.pid
    assert pid is not None
    warm.stop_when_idle()
    assert warm.pid is None
    assert not Path(f"/proc/{pid}").exists()
    never = warmed(tmp_path, idle=0)
    assert not never.ready(go_on=lambda: True)
