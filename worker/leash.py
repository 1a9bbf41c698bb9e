"""The leader of a child's process group: kills the whole group the moment the supervisor is gone.

Run as a script of the standard library alone, ``leash.py LIFELINE COMMAND...``, in a session of its own.
LIFELINE is the read end of a pipe whose write end only the supervisor holds: the kernel closes it when the
supervisor dies, ``kill -9`` included. A child that a signal ended is told as 128 + its number, as shells do.
``leash.py LIFELINE --of=PID COMMAND...`` leads a child that was forked already; the command is only told.
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading
from types import FrameType

PR_SET_PDEATHSIG = 1
OF = "--of="


def _stay(_signal: int, _frame: FrameType | None) -> None:
    """Outlive the group's SIGTERM: the child answers it, and its exit code is still to be told."""


def _end_group_with_supervisor(lifeline: int) -> None:
    os.read(lifeline, 1)
    os.killpg(0, signal.SIGKILL)


def _start(command: list[str]) -> int:
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None

    def die_with_leash() -> None:
        if libc is not None:
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

    return subprocess.Popen(command, preexec_fn=die_with_leash).pid  # noqa: PLW1509  no thread runs yet


def main(lifeline: int, command: list[str]) -> int:
    """Run the command and return its code."""
    signal.signal(signal.SIGTERM, _stay)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})  # whoever forked us may have held it back
    child = int(command[0].removeprefix(OF)) if command[0].startswith(OF) else _start(command)
    threading.Thread(target=_end_group_with_supervisor, args=(lifeline,), daemon=True).start()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return 128 - code if code < 0 else code


if __name__ == "__main__":
    # Not sys.exit: the interpreter would wait for nothing, but flush and tear down what is not there.
    os._exit(main(int(sys.argv[1]), sys.argv[2:]))
