"""Our launcher: what cannot be shared out is refused, and the first process that fails says why."""

import json
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from spin_engine import launch, rendezvous
from spin_engine.hyperparameters import Hyperparameters
from spin_engine.launch import Rank
from spin_engine.rendezvous import PeersLostError
from spin_engine.sharing import refusal
from spin_engine.unit import reason_of
from spin_engine.unit_spec import UnitSpec
from tests.spin_engine.conftest import method

FAILS = """print('{"type": "error", "reason": "out_of_memory", "message": "no more"}', flush=True)
import time; time.sleep(0.2); raise SystemExit(71)"""
WAITS = "import time; time.sleep(60)"


def rank(program: str, *, first: bool = False) -> Rank:
    said = None if first else tempfile.TemporaryFile()  # noqa: SIM115  as in the launcher
    process = subprocess.Popen([sys.executable, "-c", program], stdout=said)
    process.returncode = 0  # the launcher waits for it
    return Rank(process.pid, said)


def outcome(*ranks: Rank) -> int:
    code = launch._outcome(ranks, launch._watch(ranks))
    assert all(each.code is not None for each in ranks)
    return code


def test_who_fails_says_why_for_those_that_lost_it(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "OTHERS_SECONDS", 60.0)  # it ends sooner: as soon as one has told why
    assert outcome(rank("raise SystemExit(76)", first=True), rank(FAILS), rank(WAITS)) == 71
    assert json.loads(capfd.readouterr().out)["message"] == "no more"


def test_a_process_that_is_killed_ends_the_others(capfd: pytest.CaptureFixture[str]) -> None:
    killed = rank("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert outcome(rank(WAITS, first=True), killed) == 128 + signal.SIGKILL
    assert capfd.readouterr().out == ""


def test_a_loss_on_another_host_is_told_as_such(capfd: pytest.CaptureFixture[str]) -> None:
    assert outcome(rank("raise SystemExit(76)"), rank("raise SystemExit(76)")) == 76
    assert json.loads(capfd.readouterr().out)["reason"] == "worker_lost"


def test_who_does_not_find_the_others_says_where_it_looked(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        told = {"WORLD_SIZE": "2", "RANK": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        for name, value in (told | {rendezvous.SECONDS: "0.3"}).items():
            monkeypatch.setenv(name, value)
        with pytest.raises(
            PeersLostError, match=f"process 1 of 2 did not meet .*:{port} within 0.3 s"
        ) as found:
            rendezvous.meet()
    assert reason_of(found.value) == "worker_lost"


def test_a_peer_that_is_gone_is_told_from_our_own_mistakes(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer [::1]:9")
    assert reason_of(gone) == "internal", "one process has no peers"
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert reason_of(gone) == "worker_lost"
    assert reason_of(RuntimeError("shapes differ")) == "internal"
    assert reason_of(MemoryError("gloo: closed by peer")) == "out_of_memory"


@pytest.mark.parametrize(("codes", "expected"), [((0, 0), 0), ((75, 0), 75), ((75, 75), 75), ((0, 70), 70)])
def test_all_are_done_or_some_have_stopped(codes: tuple[int, int], expected: int) -> None:
    assert outcome(*(rank(f"raise SystemExit({code})") for code in codes)) == expected


def test_a_batch_that_is_not_shared_out_is_refused_before_anything_starts(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    inputs = {"base": tmp_path, "encoded": tmp_path, "rivals": tmp_path}
    told = {"method": method(batch_size=4), "seed": 1, "iteration": 1, "inputs": inputs, "out": tmp_path}
    spec = tmp_path / "spec.json"
    spec.write_text(UnitSpec(kind="train", **told).model_dump_json())
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert launch.main(["--processes", "3", "--port", "1", str(spec)]) == 65
    finally:
        signal.signal(signal.SIGTERM, before)
    assert json.loads(capfd.readouterr().out) == {
        "type": "error",
        "reason": "user_error",
        "message": "batch_size must be a multiple of the 3 processes, not 4",
    }


def test_buckets_are_shared_out_whole() -> None:
    def asked(**settings: object) -> Hyperparameters:
        return UnitSpec.model_validate(
            {
                "kind": "train",
                "method": method(batch_size=12, **settings),
                "seed": 1,
                "iteration": 1,
                "inputs": {"base": "/b", "encoded": "/e"},
                "out": "/o",
            }
        ).method.hyperparameters

    assert refusal(asked(micro_batch_size=6), 4) is None
    why = refusal(asked(micro_batch_size=6, aspect_buckets=True), 4)
    assert why is not None
    assert "multiple of the processes" in why
    assert refusal(asked(micro_batch_size=6, aspect_buckets=True), 3) is None
