"""The warm drawing process is kept, replaced when it dies, and never waited for too long."""

import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.worker.processes import gone, within
from worker.lease import Lease, Order
from worker.serve import Died, Easel

# Speaks the engine's protocol: answers with its own number, dies of "die", never answers "sleep".
ENGINE = """
import json, os, sys, time
for line in sys.stdin:
    request = json.loads(line)
    if request["prompt"] == "die":
        os._exit(70)
    if request["prompt"] == "sleep":
        time.sleep(60)
    print(json.dumps({"id": request["id"], "pid": os.getpid()}), flush=True)
"""


@pytest.fixture
def easel(tmp_path: Path) -> Iterator[Easel]:
    made = Easel(tmp_path, (sys.executable, "-c", ENGINE))
    yield made
    made.stop()


def ask(easel: Easel, prompt: str, *, seconds: float = 20.0, held: bool = True) -> int:
    with Lease(
        renew=lambda: held,
        wish=lambda: Order.go_on,
        seconds=0.3,
        draining=threading.Event(),
        grace=0.0,
    ) as lease:
        pid = easel.draw({"id": "one", "prompt": prompt}, seconds=seconds, lease=lease)["pid"]
        assert isinstance(pid, int)
        return pid


def test_one_process_draws_again_and_again(easel: Easel) -> None:
    assert ask(easel, "a") == ask(easel, "b")


def test_a_process_that_died_is_told_and_replaced(easel: Easel) -> None:
    first = ask(easel, "a")
    with pytest.raises(Died) as died:
        ask(easel, "die")
    assert died.value.ending.code == 70
    assert ask(easel, "a") != first


def test_a_process_that_does_not_answer_is_ended(easel: Easel) -> None:
    first = ask(easel, "a")
    with pytest.raises(TimeoutError):
        ask(easel, "sleep", seconds=0.2)
    assert within(2, lambda: gone(first))
    assert ask(easel, "a") != first


def test_a_lost_lease_ends_the_process(easel: Easel) -> None:
    began = time.monotonic()
    with pytest.raises(Died):
        ask(easel, "sleep", held=False)
    assert time.monotonic() - began < 10


def test_a_process_that_nobody_needs_is_stopped(easel: Easel) -> None:
    first = ask(easel, "a")
    easel.stop(idle=100.0)
    assert not gone(first)
    easel.stop(idle=0.0)
    assert within(2, lambda: gone(first))
