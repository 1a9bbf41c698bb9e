"""The last to leave: stops the services of a supervisor that was killed and could not do it itself.

Reads ``+PID`` and ``-PID`` lines from its standard input, a pipe that the supervisor alone holds open. When
the pipe closes, every process group still on the list gets SIGTERM, and SIGKILL after the grace.
"""

import os
import signal
import sys
import time

GRACE = 8.0


def alive(group: int) -> bool:
    """Tell whether a process group has a member that has not ended."""
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def send(group: int, signum: int) -> None:
    """Send a signal to a process group that may be gone."""
    try:
        os.killpg(group, signum)
    except ProcessLookupError:
        return


def stop(groups: set[int], grace: float) -> None:
    """End process groups: ask, wait, kill."""
    for group in groups:
        send(group, signal.SIGTERM)
    end = time.monotonic() + grace
    while any(map(alive, groups)) and time.monotonic() < end:
        time.sleep(0.1)
    for group in groups:
        send(group, signal.SIGKILL)


def main() -> None:
    """Keep the list until the supervisor is gone, then stop what is left on it."""
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        group = int(line[1:])
        if line.startswith("+"):
            groups.add(group)
        else:
            groups.discard(group)
    stop(groups, GRACE)


if __name__ == "__main__":
    main()
