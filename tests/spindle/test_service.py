"""What ``spindle up`` does for each service: a log that stays small, and a port of its own for metrics."""

import sys
import time
from pathlib import Path

import pytest

from spindle.service import Service
from spindle.up import WORKERS, Supervisor


def test_a_log_that_has_grown_is_moved_aside_and_the_process_writes_on(tmp_path: Path) -> None:
    log = tmp_path / "units.log"
    code = "import sys, time\nwhile True: print('x' * 99, flush=True); time.sleep(0.001)"
    service = Service("units", (sys.executable, "-c", code), log)
    service.start({})
    assert service.process is not None
    try:
        for _ in range(2):
            deadline = time.monotonic() + 60
            while log.stat().st_size < 5000:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            service.bound_log(most=4000)
            assert (tmp_path / "units.log.1").stat().st_size >= 4000
    finally:
        service.process.kill()
        service.process.wait()
    assert b"\0" not in log.read_bytes()  # a writer that kept its place would leave a hole
    assert sorted(path.name for path in tmp_path.iterdir()) == ["units.log", "units.log.1"]
    service.bound_log()
    assert log.exists()


def test_each_worker_has_a_port_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    up = Supervisor(tmp_path, "127.0.0.1", 8000, print)
    monkeypatch.delenv("SPINDLE_METRICS_PORT", raising=False)
    assert "SPINDLE_METRICS_PORT" not in up._environment("units")
    monkeypatch.setenv("SPINDLE_METRICS_PORT", "9464")
    told = [up._environment(name)["SPINDLE_METRICS_PORT"] for name in WORKERS]
    assert told == ["9464", "9465", "9466", "9467"]
    monkeypatch.setenv("SPINDLE_METRICS_PORT", "0")
    assert up._environment("beat")["SPINDLE_METRICS_PORT"] == "0"
