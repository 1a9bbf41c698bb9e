"""The warm drawing process of a serving worker: started when it is needed, ended when nobody draws."""

import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from worker.child import Child, Ending, Line, environment
from worker.workplace import Workplace

log = structlog.get_logger(__name__)

COMMAND = (sys.executable, "-m", "spin_engine", "serve")

# Somebody waits: threads look around for some microseconds before they sleep between two steps. Without, a
# small model draws at half the speed on a quiet machine; with many more, at half on a busy one.
PROMPTLY = {"GOMP_SPINCOUNT": "2000"}


class Easel:
    """The child of this worker that draws, if there is one."""

    def __init__(
        self,
        folder: Path,
        command: Sequence[str] = COMMAND,
        *,
        started: Callable[[], object] = lambda: None,
    ) -> None:
        self._folder = folder
        self._command = list(command)
        self._started = started
        self._child: Child | None = None
        self._guard = threading.RLock()

    @property
    def child(self) -> Child | None:
        """The process that draws."""
        return self._child

    def say(self, line: Line) -> None:
        """Send a line to the child, which is started if there is none; of one that is dead others hear."""
        with self._guard:
            if self._child is None:
                env = environment() | PROMPTLY
                self._child = Child(self._command, env=env, folder=self._folder, stdin=True)
                self._started()
                log.info("drawing_process_started", pid=self._child.pid)
            self._tell(line)

    def whisper(self, line: Line) -> None:
        """Send a line to the child if there is one."""
        with self._guard:
            self._tell(line)

    def kill(self) -> None:
        """End the child now; whoever hears it notices."""
        with self._guard:
            if self._child is not None:
                self._child.kill()

    def forget(self, child: Child) -> None:
        """Send this child nothing more: it has ended, and the next line starts another."""
        with self._guard:
            if self._child is child:
                self._child = None

    def bury(self, child: Child) -> Ending:
        """Wait for a child that ends or has ended, and tell how it did."""
        self.forget(child)
        ending = child.wait()
        log.info("drawing_process_ended", code=ending.code, signal=ending.signal)
        return ending

    def _tell(self, line: Line) -> None:
        try:
            if self._child is not None:
                self._child.say(line)
        except BrokenPipeError:
            log.debug("drawing_process_deaf")


def easel_for(place: Workplace) -> Easel:
    """Return the easel of a worker, whose child keeps as much in memory as the settings say."""
    command = (*COMMAND, "--memory-bytes", str(place.settings.serve_memory_bytes))
    return Easel(place.folder, command, started=lambda: place.meters.started("fresh"))
