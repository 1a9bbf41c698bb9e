"""``python -m spin_engine launch ... SPEC.json``: a train unit in several processes of this host.

They stay in this process's group, which torch's own launcher does not do: whoever ends the group ends them
all. One that fails ends the others at once, and what is told is why the first one did.
"""

import argparse
import ctypes
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO, Any, NoReturn

from setproctitle import setproctitle

from spin_engine.runtime import cores
from spin_engine.sharing import refusal
from spin_engine.unit_spec import CRASH, DATA_ERROR, DONE, PEERS_LOST, TEMPORARY_FAILURE, UnitSpec

PR_SET_PDEATHSIG = 1
ENGINE = "spin_engine.unit"
OTHERS_SECONDS = 2.0
"""What a process that lost another leaves that one for ending: it may still say why."""
TICK = 0.05
LOST = "another process of this training ended, or could not be reached"


@dataclass
class Rank:
    """A process that was started; ``said`` holds its lines, but for those of process 0, which go out."""

    pid: int
    said: IO[bytes] | None
    code: int | None = None

    def poll(self, *, wait: bool = False) -> int | None:
        """Return how it ended, a signal as its number below 0; None while it runs."""
        if self.code is None:
            found, status = os.waitpid(self.pid, 0 if wait else os.WNOHANG)
            if found:
                self.code = os.waitstatus_to_exitcode(status)
        return self.code

    def last_words(self) -> str | None:
        """Return the line in which it told why it failed, if it did; to be asked once."""
        if self.said is None:
            return None
        with self.said as said:
            said.seek(0)
            lines = [line for line in said.read().decode().splitlines() if line.startswith("{")]
        return lines[-1] if lines else None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the processes of this host; return the exit code of what decided how they ended."""
    parser = argparse.ArgumentParser(
        "python -m spin_engine launch", description="Train in several processes."
    )
    parser.add_argument("--processes", type=int, required=True, help="of this host")
    parser.add_argument("--first", type=int, default=0, help="the rank of the first of them")
    parser.add_argument("--world", type=int, help="processes of all hosts (default: this one's)")
    parser.add_argument("--address", default="127.0.0.1", help="where process 0 is reached")
    parser.add_argument("--port", type=int, required=True, help="likewise")
    parser.add_argument("--seconds", type=float, default=300.0, help="within which all have to meet")
    parser.add_argument("--threads", type=int, help="of each (default: OMP_NUM_THREADS, or all cores)")
    parser.add_argument("--cpu", action="store_true", help="compute on the processor, whatever else there is")
    parser.add_argument("--interface", help="network interface of gloo (default: that of the host's name)")
    parser.add_argument("spec", type=Path, help="JSON file of a train unit")
    given = parser.parse_args(arguments)
    world = given.world or given.processes
    stop = _Stop()
    why = refusal(UnitSpec.model_validate(json.loads(given.spec.read_text())).method.hyperparameters, world)
    if why is not None:
        _tell("user_error", why)
        return DATA_ERROR
    told: dict[str, Any] = {
        "WORLD_SIZE": world,
        "LOCAL_WORLD_SIZE": given.processes,
        "MASTER_ADDR": given.address,
        "MASTER_PORT": given.port,
        "SPIN_ENGINE_MEET_SECONDS": f"{given.seconds:g}",
        "OMP_NUM_THREADS": given.threads or os.environ.get("OMP_NUM_THREADS") or cores(),
    }
    if given.cpu:
        told["ACCELERATE_USE_CPU"] = 1
    if given.interface and "GLOO_SOCKET_IFNAME" not in os.environ:
        told["GLOO_SOCKET_IFNAME"] = given.interface
    ranks = []
    for local in range(given.processes):
        if stop.requested:  # those that are there have heard it too, and all stop at the same step
            break
        ranks.append(_start(given.spec, told | {"RANK": given.first + local, "LOCAL_RANK": local}, stop))
    if len(ranks) < given.processes:
        _end(ranks)
        return TEMPORARY_FAILURE
    return _outcome(ranks, _watch(ranks))


class _Stop:
    """Outlives the group's SIGTERM: the processes answer it, and what they say is still to be told."""

    def __init__(self) -> None:
        self.requested = False
        signal.signal(signal.SIGTERM, self._request)

    def _request(self, _signal: int, _frame: FrameType | None) -> None:
        self.requested = True


def _start(spec: Path, told: Mapping[str, Any], stop: "_Stop") -> Rank:
    """Start one process: by a fork where the engine is imported already, which is so in a warm process's."""
    said = tempfile.TemporaryFile() if told["RANK"] else None  # noqa: SIM115  lives as long as its process
    env = {name: str(value) for name, value in told.items()}
    command = [sys.executable, "-m", "spin_engine", "unit", str(spec)]
    if ENGINE in sys.modules:
        pid = os.fork()
        if pid == 0:
            _become(command, env, said, stop)
        return Rank(pid, said)
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    process = subprocess.Popen(
        command,
        env=os.environ | env,
        stdout=said,
        preexec_fn=lambda: _die_with_parent(libc),  # noqa: PLW1509  no thread runs
    )
    process.returncode = 0  # we wait for it ourselves
    return Rank(process.pid, said)


def _die_with_parent(libc: ctypes.CDLL | None) -> None:
    if libc is not None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _become(command: list[str], env: Mapping[str, str], said: IO[bytes] | None, stop: "_Stop") -> NoReturn:
    """Be one of the processes, in a fork of the one that starts them, and never return into it."""
    code = CRASH
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _die_with_parent(ctypes.CDLL(None))
        if stop.requested:  # it came between the fork and now
            os._exit(TEMPORARY_FAILURE)
        setproctitle(" ".join(command))
        if said is not None:
            os.dup2(said.fileno(), 1)
        os.environ.update(env)
        sys.modules["torch"].set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        code = sys.modules["spin_engine.__main__"].main(command[3:])
        sys.stdout.flush()
    except BaseException:  # noqa: BLE001  as a fresh interpreter would
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _watch(ranks: Sequence[Rank]) -> int | None:
    """Wait until all have ended, or one has failed; end the others, and return which failed first."""
    failed: int | None = None
    deadline = float("inf")
    while True:
        codes = [rank.poll() for rank in ranks]
        bad = [at for at, code in enumerate(codes) if code not in (None, DONE, TEMPORARY_FAILURE)]
        for at in bad:
            if failed is None or codes[failed] == PEERS_LOST:
                failed = at
        if failed is not None:
            deadline = min(deadline, time.monotonic() + OTHERS_SECONDS)
            if codes[failed] != PEERS_LOST or time.monotonic() >= deadline:
                break
        if None not in codes:
            break
        time.sleep(TICK)
    _end(ranks)
    return failed


def _end(ranks: Sequence[Rank]) -> None:
    for rank in ranks:
        if rank.poll() is None:
            os.kill(rank.pid, signal.SIGKILL)
        rank.poll(wait=True)


def _outcome(ranks: Sequence[Rank], failed: int | None) -> int:
    """Tell why the first failed that did, and return its code; else whether all are done or some stopped."""
    said = [rank.last_words() for rank in ranks]
    if failed is None:
        codes = {rank.code for rank in ranks}
        return TEMPORARY_FAILURE if TEMPORARY_FAILURE in codes else DONE
    code = ranks[failed].code
    assert code is not None, "it was waited for"
    if code == PEERS_LOST:
        _tell("worker_lost", LOST)
    if said[failed] is not None:
        print(said[failed], flush=True)
    return 128 - code if code < 0 else code


def _tell(reason: str, message: str) -> None:
    print(json.dumps({"type": "error", "reason": reason, "message": message}), flush=True)
