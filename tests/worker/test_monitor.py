"""A worker's /livez and /metrics: real requests to a real port."""

import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest

from core.settings import Settings
from worker import phases
from worker.gauges import GPU_SECONDS, GpuNumbers
from worker.meters import Meters
from worker.monitor import server_at
from worker.vitals import DEAF_SECONDS, STILL_SECONDS, Vitals


class Clock:
    """A clock that is set by hand."""

    now = 1000.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now


def asked(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, refusal.read().decode()


def values(text: str, name: str) -> dict[str, float]:
    """Return the samples of one name, by the text of their labels."""
    found = re.findall(rf"^{name}(\{{[^}}]*\}})? (\S+)$", text, re.MULTILINE)
    return {labels: float(value) for labels, value in found}


def test_a_worker_lives_while_its_pulse_goes_round() -> None:
    clock = Clock()
    vitals = Vitals(clock)
    assert vitals.complaint() is None  # it waits for the queue: to start it anew would not help
    vitals.went_round()
    clock.now += STILL_SECONDS
    assert vitals.complaint() is None
    clock.now += 1
    assert vitals.complaint() == "the pulse has not gone round for 61 seconds"
    vitals.went_round()
    assert vitals.complaint() is None


def test_a_worker_that_stops_is_let_finish() -> None:
    clock = Clock()
    vitals = Vitals(clock)
    vitals.went_round()
    vitals.rest()
    clock.now += 10 * STILL_SECONDS  # its unit writes a large checkpoint
    assert vitals.complaint() is None


def test_a_deaf_worker_says_so() -> None:
    vitals = Vitals(Clock())
    vitals.went_round()
    vitals.listen(lambda: DEAF_SECONDS)
    assert vitals.complaint() is None
    vitals.listen(lambda: DEAF_SECONDS + 30)
    assert vitals.complaint() == "the worker is deaf: work has waited 90 seconds without a message"


def test_what_is_wrong_is_answered_with_503() -> None:
    clock = Clock()
    vitals, meters = Vitals(clock), Meters()
    with served(meters, vitals) as port:
        vitals.went_round()
        assert asked(port, "/livez") == (200, "ok\n")
        clock.now += 100
        assert asked(port, "/livez") == (503, "the pulse has not gone round for 100 seconds\n")
        meters.did("heartbeat", seconds=0.2, well=True)
        meters.did("heartbeat", seconds=0.2, well=False)
        status, text = asked(port, "/metrics")
        assert status == 200
        assert values(text, "spindle_duties_total") == {
            '{duty="heartbeat",outcome="succeeded"}': 1,
            '{duty="heartbeat",outcome="failed"}': 1,
        }
        assert asked(port, "/else")[0] == 404


@contextmanager
def served(meters: Meters, vitals: Vitals) -> Iterator[int]:
    """Serve on a port that is free, and yield it."""
    with server_at(0, registry=meters.registry, vitals=vitals) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield server.server_port
        server.shutdown()


def test_without_a_port_nothing_listens() -> None:
    assert Settings(state=Path("/nowhere")).metrics_port == 0
    with pytest.raises(ValueError, match="metrics_port"):
        Settings(state=Path("/nowhere"), metrics_port=70000)


def test_a_gpu_that_is_lost_is_seen() -> None:
    clock, told = Clock(), ["0, 512, 24576, 30, 45\n1, 0, 24576, [N/A], 40\n"]
    numbers = GpuNumbers(lambda: told[0], clock)

    def found() -> dict[tuple[str, ...], float]:
        samples = [sample for family in numbers.collect() for sample in family.samples]
        return {(each.name, *each.labels.values()): each.value for each in samples}

    first = found()
    assert first["spindle_gpu_memory_used_bytes", "0"] == 512 << 20
    assert first["spindle_gpu_utilisation_ratio", "0"] == pytest.approx(0.3)
    assert ("spindle_gpu_utilisation_ratio", "1") not in first  # it does not tell
    assert first["spindle_worker_gpus",] == first["spindle_worker_gpus_answering",] == 2
    told[0] = "0, 512, 24576, 30, 45\n"
    assert found() == first  # asked a moment ago
    clock.now += GPU_SECONDS
    assert found()["spindle_worker_gpus_answering",] == 1
    assert found()["spindle_worker_gpus",] == 2


def test_what_a_child_tells_of_its_phases_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    noted: list[tuple[str, dict[str, object]]] = []
    monkeypatch.setattr(phases, "note_span", lambda name, **told: noted.append((name, told)))
    now = time.time_ns()
    line: dict[str, Any] = {"type": "span", "name": "load", "began": now - 5, "ended": now}
    phases.note(line | {"told": {"rows": 3, "a b": 1, "deep": {}, "inside": 1, "word": "x" * 500}})
    for wrong in (
        {"name": None},
        {"began": "now"},
        {"began": now + 1},
        {"ended": now + 10**12},
        {"began": 0},
    ):
        phases.note(line | wrong)
    [(name, told)] = noted
    assert name == "load"
    assert told == {"began": now - 5, "ended": now, "rows": 3, "word": "x" * 200}


def test_renewals_are_counted_by_what_came_of_them() -> None:
    meters = Meters()
    answers: list[bool | Exception] = [True, True, False, OSError("away")]

    def renew() -> bool:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    counted = meters.counting(renew)
    assert [counted(), counted(), counted()] == [True, True, False]
    with pytest.raises(OSError, match="away"):
        counted()
    text = generate_latest(meters.registry).decode()
    assert values(text, "spindle_lease_renewals_total") == {
        '{outcome="renewed"}': 2,
        '{outcome="lost"}': 1,
        '{outcome="failed"}': 1,
    }
