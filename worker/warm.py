"""The warm process of a units worker: it has imported what units import, and forks them."""

import ctypes
import json
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import structlog

from core.tracing import span
from worker import leash
from worker.staging import Interrupted

log = structlog.get_logger(__name__)

ENGINE = [sys.executable, "-m", "spin_engine"]
COMMAND = (sys.executable, "-m", "spin_engine.warm")
PR_SET_CHILD_SUBREAPER = 36
IMPORT_SECONDS = 300.0  # a cold disk under torch, with other imports beside it
ANSWER_SECONDS = 10.0
TRIES = 3
TICK = 0.1
LARGEST = 1 << 16


class Warm:
    """Forks units, as long as it can: without it they start as fresh interpreters.

    Args:
        folder: where the process is at home.
        env: its environment, and so that of each unit forked from it.
        idle_seconds: it ends when no unit was forked for so long; 0: there is none.
        command: what to run.
    """

    def __init__(
        self, folder: Path, *, env: dict[str, str], idle_seconds: float, command: Sequence[str] = COMMAND
    ) -> None:
        self._folder = folder
        self._env = env
        self._idle = idle_seconds
        self._command = list(command)
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._imported = False
        self._died_young = 0
        self._useless = idle_seconds == 0 or sys.platform != "linux"
        self._used = time.monotonic()
        self._guard = threading.Lock()

    @property
    def pid(self) -> int | None:
        """The process, if there is one."""
        return None if self._process is None else self._process.pid

    def begin(self) -> None:
        """Start the process, if there is none and it can be had; it imports meanwhile."""
        with self._guard:
            self._begin()

    def ready(self, *, go_on: Callable[[], bool]) -> bool:
        """Wait until the process can fork units, and return whether it can.

        Raises:
            Interrupted: ``go_on`` said no meanwhile.
        """
        deadline = time.monotonic() + IMPORT_SECONDS
        with self._guard:
            self._begin()
            if self._control is not None and not self._imported:
                with span("warm up"):
                    self._wait_for_imports(go_on, deadline)
            return self._imported

    def fork(
        self, command: list[str], *, folder: Path, lifeline: int, stdout: int, stderr: int
    ) -> int | None:
        """Fork a unit and return its group, a child of this process; None when that failed.

        What was forked although it failed ends with the other end of its lifeline.
        """
        assert command[: len(ENGINE)] == ENGINE, "only the engine is warm"
        wish = {
            "command": command,
            "folder": str(folder),
            "leash": [sys.executable, "-IS", leash.__file__],
        }
        with self._guard:
            self._used = time.monotonic()
            if self._control is None:
                return None
            try:
                socket.send_fds(self._control, [json.dumps(wish).encode()], [lifeline, stdout, stderr])
                self._control.settimeout(ANSWER_SECONDS)
                return int(_packet(self._control)["pid"])
            except OSError as error:
                log.warning("warm_process_lost", error=f"{type(error).__name__}: {error}", units="fresh")
                self._end()
                return None

    def stop(self) -> None:
        """End the process."""
        with self._guard:
            self._end()

    def stop_when_idle(self) -> None:
        """End the process if no unit has come for long, and none is being waited for."""
        if time.monotonic() - self._used >= self._idle and self._guard.acquire(blocking=False):
            try:
                if self._process is not None:
                    log.info("warm_process_idle", seconds=self._idle)
                self._end()
            finally:
                self._guard.release()

    def _begin(self) -> None:
        if self._process is not None or self._useless:
            return
        self._used = time.monotonic()
        if ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
            self._give_up("the kernel lets no process adopt orphans")
            return
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [*self._command, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=self._env,
                cwd=self._folder,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        self._control = ours
        log.info("warm_process_started", pid=self._process.pid)

    def _wait_for_imports(self, go_on: Callable[[], bool], deadline: float) -> None:
        while self._control is not None and not self._imported:
            if not go_on():
                raise Interrupted
            if select.select([self._control], [], [], TICK)[0]:
                self._hear_of_imports(self._control)
            elif time.monotonic() > deadline:
                self._give_up(f"it imports for more than {IMPORT_SECONDS:g} seconds")

    def _hear_of_imports(self, control: socket.socket) -> None:
        try:
            reason = _packet(control)["unfit"]
        except OSError:
            self._died_young += 1
            if self._died_young >= TRIES:
                self._give_up(f"it ended {TRIES} times while it imported")
            else:
                log.warning("warm_process_lost", error="it ended while it imported", units="fresh")
                self._end()
            return
        if reason is None:
            self._imported, self._died_young = True, 0
            log.info("warm_process_ready")
        else:
            self._give_up(reason)

    def _give_up(self, reason: str) -> None:
        """Start units fresh from now on: the next attempt would cost as much and fail as well."""
        log.warning("warm_process_unfit", reason=reason, units="fresh")
        self._died_young = 0
        self._useless = True
        self._end()

    def _end(self) -> None:
        process, self._process = self._process, None
        control, self._control = self._control, None
        self._imported = False
        if control is not None:
            control.close()
        if process is not None:
            process.kill()
            process.wait()


def _packet(control: socket.socket) -> dict[str, Any]:
    packet = control.recv(LARGEST)
    if not packet:
        raise ConnectionResetError("it has ended")
    found: dict[str, Any] = json.loads(packet)
    return found
