"""A child process in a group of its own that talks back in JSON lines, and how it ended."""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping
from contextvars import copy_context
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

import structlog

from worker import leash

log = structlog.get_logger(__name__)

ROOT = Path(__file__).resolve().parents[1]
STDERR_LINES = 60
RSS_UNIT = 1 if sys.platform == "darwin" else 1024
PROMPT = (
    "checkpoint",
    "sample",
    "answer",
    "partial",
    "nearly",
)  # lines that are acted upon at once, not gathered into a batch
SECRET = ("SPINDLE_", "OTEL_")  # addresses and credentials of the platform and of its collector
Line = dict[str, Any]


@dataclass(frozen=True)
class Ending:
    """How a child ended."""

    code: int  # exit code; 0 when a signal ended it
    signal: int | None
    error: Line | None  # its last {"type": "error"} line
    stderr: str  # the last lines it wrote there
    kernel_oom: bool  # the kernel ran out of memory and killed something meanwhile
    peak_memory_bytes: int = (
        0  # the most of the host's memory that one of its processes held, if it ended well
    )


def environment() -> dict[str, str]:
    """What a child may know: no address or secret of the platform, and a fixed number of threads.

    The number of threads decides the order of sums, so a resumed unit needs the same one for the same bits.
    Each unit imports torch and its friends anew: compiling them every time costs more than most units do, so
    a wish of this process not to keep compiled modules is not handed on.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(SECRET)}
    threads = str(len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1)
    kept.setdefault("OMP_NUM_THREADS", threads)
    kept.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    kept["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), kept.get("PYTHONPATH"))))
    kept["PYTHONUNBUFFERED"] = "1"
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    return kept


class Forks(Protocol):
    """What can start a command by a fork."""

    def fork(
        self, command: list[str], *, folder: Path, lifeline: int, stdout: int, stderr: int
    ) -> int | None:
        """Return the group of a new child of this process; None: start it otherwise."""


@dataclass(frozen=True)
class Born:
    """A child that was started, the leader of its group, and what it is heard and held by."""

    pid: int
    held: int  # the write end of its lifeline
    stdin: IO[bytes] | None
    stdout: IO[bytes]
    stderr: IO[bytes]
    process: "subprocess.Popen[bytes] | None"  # of a fresh one; wants to be told that it has ended


class Child:
    """A running command: its lines, and the two signals that its whole group can be sent.

    Args:
        command: what to run.
        env: its environment.
        folder: where.
        stdin: whether it is to be spoken to.
        warm: forks it, if it can.
    """

    def __init__(
        self,
        command: list[str],
        *,
        env: Mapping[str, str],
        folder: Path,
        stdin: bool = False,
        warm: Forks | None = None,
    ) -> None:
        self._ooms = _kernel_ooms()
        self._lines: queue.SimpleQueue[Line | None] = queue.SimpleQueue()
        self._stderr: deque[str] = deque(maxlen=STDERR_LINES)
        self._error: Line | None = None
        self._ended = False
        self._guard = threading.Lock()
        self.heard = time.monotonic()
        self.began_ns = time.time_ns()
        forked = None if warm is None else _forked(command, folder, warm)
        self._born = forked or _fresh(command, env, folder, stdin=stdin)
        self._readers = [
            # In a copy of this context: its log lines name the unit.
            threading.Thread(
                target=copy_context().run, args=(self._read_lines, self._born.stdout), daemon=True
            ),
            threading.Thread(target=self._read_stderr, args=(self._born.stderr,), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    @property
    def is_forked(self) -> bool:
        """Whether a warm process forked it."""
        return self._born.process is None

    @property
    def pid(self) -> int:
        """The id of the process group."""
        return self._born.pid

    def terminate(self) -> None:
        """Ask the whole group to write a checkpoint and stop."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the whole group now."""
        self._signal(signal.SIGKILL)

    def say(self, line: Line) -> None:
        """Send one JSON line to the child's stdin; BrokenPipeError when it no longer listens."""
        assert self._born.stdin is not None, "the child was started without stdin"
        self._born.stdin.write(json.dumps(line).encode() + b"\n")
        self._born.stdin.flush()

    def hear(self, seconds: float) -> tuple[list[Line], bool]:
        """Return the lines that came within ``seconds``, and whether more may come."""
        lines: list[Line] = []
        deadline = time.monotonic() + seconds
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                return lines, True
            if line is None:
                self._lines.put(None)
                return lines, False
            lines.append(line)
            if line["type"] in PROMPT or len(lines) >= 200:
                return lines, True

    def wait(self) -> Ending:
        """Wait for the leader, end what it left behind in its group, and tell how it went."""
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)  # not reaped yet: the group's id stays taken
        with self._guard:
            self._ended = True
            with contextlib.suppress(
                PermissionError
            ):  # macOS refuses a group that holds only its dead leader
                os.killpg(self.pid, signal.SIGKILL)
            _, status, used = os.wait4(self.pid, 0)
            code = os.waitstatus_to_exitcode(status)
            if self._born.process is not None:
                self._born.process.returncode = code
            os.close(self._born.held)
            _bury(self.pid)
        for reader in self._readers:
            reader.join(timeout=5)
        for stream in (self._born.stdin, self._born.stdout, self._born.stderr):
            if stream is not None:
                _close(stream)
        number = -code if code < 0 else code - 128 if code > 128 else None
        return Ending(
            code=0 if number else code,
            signal=number,
            error=self._error,
            stderr="\n".join(self._stderr),
            kernel_oom=_kernel_ooms() > self._ooms,
            peak_memory_bytes=used.ru_maxrss * RSS_UNIT,
        )

    def _signal(self, number: signal.Signals) -> None:
        with self._guard:
            if not self._ended:
                os.killpg(self.pid, number)

    def _read_lines(self, stream: IO[bytes]) -> None:
        for raw in stream:
            self.heard = time.monotonic()
            try:
                line = json.loads(raw)
            except ValueError:
                line = None
            if not isinstance(line, dict) or not isinstance(line.get("type", ""), str):
                log.warning("child_said_no_json_line", said=raw[:200].decode(errors="replace"))
                continue
            line.setdefault("type", "answer")
            if line["type"] == "error":
                self._error = line
            self._lines.put(line)
        self._lines.put(None)

    def _read_stderr(self, stream: IO[bytes]) -> None:
        for raw in stream:
            self._stderr.append(raw[-1000:].decode(errors="replace").rsplit("\r", 1)[-1].rstrip())


def _fresh(command: list[str], env: Mapping[str, str], folder: Path, *, stdin: bool) -> Born:
    lifeline, held = os.pipe()
    try:
        process = subprocess.Popen(
            [sys.executable, "-IS", leash.__file__, str(lifeline), *command],
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(env),
            cwd=folder,
            pass_fds=(lifeline,),
            start_new_session=True,
        )
    except BaseException:
        os.close(held)
        raise
    finally:
        os.close(lifeline)
    assert process.stdout is not None
    assert process.stderr is not None
    return Born(process.pid, held, process.stdin, process.stdout, process.stderr, process)


def _forked(command: list[str], folder: Path, warm: Forks) -> Born | None:
    (lifeline, held), (out, stdout), (err, stderr) = os.pipe(), os.pipe(), os.pipe()
    pid = None
    try:
        pid = warm.fork(command, folder=folder, lifeline=lifeline, stdout=stdout, stderr=stderr)
    finally:
        for theirs in (lifeline, stdout, stderr):
            os.close(theirs)
        if pid is None:
            for ours in (held, out, err):
                os.close(ours)
    return None if pid is None else Born(pid, held, None, os.fdopen(out, "rb"), os.fdopen(err, "rb"), None)


def _bury(group: int) -> None:
    """Wait for those of a killed group whom their parents left to us, if we are who adopts orphans."""
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-group, 0)


def _close(stream: IO[bytes]) -> None:
    try:
        stream.close()
    except BrokenPipeError:
        log.debug("child_left_input_unread")


def _kernel_ooms() -> int:
    """Count what the kernel has killed for want of memory: in this container, or else on this host."""
    for file in (Path("/sys/fs/cgroup/memory.events"), Path("/proc/vmstat")):
        if file.is_file():
            for line in file.read_text().splitlines():
                name, _, value = line.partition(" ")
                if name == "oom_kill":
                    return int(value)
    return 0
