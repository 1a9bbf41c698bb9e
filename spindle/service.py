"""A process that should always run, in a group of its own."""

import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

HEALTHY_SECONDS = 30.0
LONGEST_PAUSE = 30.0
LOG_BYTES = 64 << 20


@dataclass
class Service:
    """A command, the process that runs it now, and when it may start again.

    Attributes:
        name: what people call it; its log is ``name.log``.
        command: what runs.
        log: where its output goes.
        process: what runs now, None between an end and the next start.
        deaths: how often in a row it died young.
        pause: seconds before the next start; doubles while it dies young.
        due: the monotonic time of the next start.
    """

    name: str
    command: tuple[str, ...]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    deaths: int = 0
    pause: float = 1.0
    due: float = 0.0

    def start(self, environment: dict[str, str]) -> int:
        """Start it and return its process id, which is its group's id too."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.started = time.monotonic()
        return self.process.pid

    def bound_log(self, most: int = LOG_BYTES) -> None:
        """Move a log that has grown too large to ``name.log.1``, in the place of the one before.

        The process goes on writing to the same file, at its end: it is copied and emptied. What is written
        between the two is lost, some lines at most.
        """
        if self.log.exists() and self.log.stat().st_size > most:
            shutil.copyfile(self.log, self.log.with_name(f"{self.log.name}.1"))
            os.truncate(self.log, 0)

    def send(self, signum: signal.Signals) -> None:
        """Send a signal to the whole group, if there is one."""
        if self.process is not None:
            try:
                os.killpg(self.process.pid, signum)
            except (ProcessLookupError, PermissionError):
                return

    def ended(self, now: float) -> tuple[int, str] | None:
        """Clear up after a process that has ended, put off its next start, and return id and end."""
        if self.process is None or self.process.poll() is None:
            return None
        pid, code = self.process.pid, self.process.returncode
        self.send(signal.SIGKILL)  # whoever of its group outlived it
        young = now - self.started < HEALTHY_SECONDS
        self.deaths = self.deaths + 1 if young else 0
        self.pause = min(LONGEST_PAUSE, 2.0**self.deaths)
        self.process, self.due = None, now + self.pause
        return (
            pid,
            f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}",
        )
