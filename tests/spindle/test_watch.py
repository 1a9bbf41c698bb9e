import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from spindle.service import Service
from spindle.watch import alive

STUBBORN = "import signal,time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
MEEK = "import time; print('up', flush=True); time.sleep(60)"


def started(code: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    process.stdout.close()
    return process


def ignores(pid: int, signum: int) -> bool:
    told = subprocess.check_output(["ps", "-o", "ignored=", "-p", str(pid)], text=True)
    return bool(int(told, 16) >> signum - 1 & 1)


def test_the_watch_ends_those_on_its_list_when_the_pipe_closes_and_no_others() -> None:
    listed, dropped = started(MEEK), started(MEEK)
    watch = subprocess.Popen([sys.executable, "-m", "spindle.watch"], stdin=subprocess.PIPE)
    assert watch.stdin is not None
    watch.stdin.write(f"+{listed.pid}\n+{dropped.pid}\n-{dropped.pid}\n".encode())
    watch.stdin.close()
    assert listed.wait(10) == -signal.SIGTERM
    assert watch.wait(20) == 0
    assert dropped.poll() is None
    dropped.kill()
    dropped.wait()


def test_the_watch_itself_is_not_stopped_by_a_signal() -> None:
    listed = started(MEEK)
    watch = subprocess.Popen([sys.executable, "-m", "spindle.watch"], stdin=subprocess.PIPE)
    assert watch.stdin is not None
    watch.stdin.write(f"+{listed.pid}\n".encode())
    watch.stdin.flush()
    deadline = time.monotonic() + 30
    while not ignores(watch.pid, signal.SIGTERM):  # after SIGINT
        assert time.monotonic() < deadline
        time.sleep(0.02)
    watch.send_signal(signal.SIGTERM)
    watch.send_signal(signal.SIGINT)
    watch.stdin.close()
    assert listed.wait(10) == -signal.SIGTERM
    assert watch.wait(20) == 0


def test_a_group_is_alive_until_its_last_member_has_ended() -> None:
    process = started(STUBBORN)
    assert alive(process.pid)
    os.killpg(process.pid, signal.SIGTERM)
    assert alive(process.pid)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not alive(process.pid)


def test_a_service_that_dies_young_waits_longer_each_time(tmp_path: Path) -> None:
    service = Service("x", (sys.executable, "-c", "raise SystemExit(3)"), tmp_path / "x.log")
    pauses = []
    for _ in range(6):
        pid = service.start(dict(os.environ))
        assert service.process is not None
        service.process.wait()
        end = service.ended(service.started + 1)
        assert end == (pid, "ended with exit code 3")
        pauses.append(service.pause)
    assert pauses == [2, 4, 8, 16, 30, 30]
    assert service.ended(service.started + 2) is None
