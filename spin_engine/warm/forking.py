"""Forks units from a process that has imported what they import, and done nothing else.

It speaks over a Unix socket of packets. The first one out tells whether units can be forked:
``{"unfit": null}``, or why not. Each packet in after that is a unit: ``{"command": [...], "folder": dir,
"leash": [...]}`` with three file descriptors, for the leash's lifeline, stdout and stderr. The answer is
``{"pid": n}``: the leader of the unit's group, which is a child of whoever started this process (it must be a
subreaper, see prctl(2)).

Nothing is computed here: no device is opened and no thread runs when a unit is forked, so a unit starts as a
fresh interpreter would after its imports. docs/adr/0008-warm-starts.md tells why.
"""

import ctypes
import gc
import json
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from setproctitle import setproctitle

IDLE = "spindle: warm, runs nothing"  # only what runs a unit carries spin_engine in its command line
MODULE = ("-m", "spin_engine")
PR_SET_PDEATHSIG = 1
LARGEST = 1 << 16
GPU_DRIVERS = ("/dev/nvidia-uvm", "/dev/kfd")
CRASH = 70
Main = Callable[[list[str]], int]


def serve(fd: int, imports: Callable[[], Main]) -> int:
    """Import what a unit is run by, tell so, and fork one unit a packet until the socket ends."""
    setproctitle(IDLE)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.set_inheritable(fd, False)  # noqa: FBT003  positional only
    with socket.socket(fileno=fd) as control:
        main = imports()
        reason = unfit()
        control.send(json.dumps({"unfit": reason}).encode())
        if reason is not None:
            return CRASH
        gc.collect()
        gc.freeze()  # what is here is never collected: a unit's collector leaves these pages shared
        while True:
            packet, fds, _, _ = socket.recv_fds(control, LARGEST, 3, socket.MSG_CMSG_CLOEXEC)
            if not packet:
                return 0
            pid = _fork(json.loads(packet), fds, control, main)
            for each in fds:
                os.close(each)
            control.send(json.dumps({"pid": pid}).encode())


def unfit(drivers: tuple[str, ...] = GPU_DRIVERS) -> str | None:
    """Return why this process must not be forked: a thread runs, a GPU's driver is open; None: it may."""
    trial = os.fork()  # OpenBLAS puts its idle threads away at a fork; whatever still runs then is another's
    if trial == 0:
        os._exit(0)
    os.waitpid(trial, 0)
    threads = len(list(Path("/proc/self/task").iterdir()))
    if threads != 1:
        return f"{threads} threads run after the imports"
    for link in Path("/proc/self/fd").iterdir():
        if link.is_symlink() and str(link.readlink()).startswith(drivers):
            return f"an import opened {link.readlink()}"
    return None


def _fork(request: dict[str, Any], fds: list[int], control: socket.socket, main: Main) -> int:
    """Fork the leader of a group by way of a process that ends: whoever adopts orphans becomes its parent."""
    told, tell = os.pipe()
    between = os.fork()
    if between == 0:
        os.close(told)
        _or_exit(lambda: _between(request, fds, control, main, tell))
    os.close(tell)
    os.waitpid(between, 0)  # only now has the leader its new parent
    pid = os.read(told, 32)
    os.close(told)
    return int(pid)


def _between(
    request: dict[str, Any], fds: list[int], control: socket.socket, main: Main, tell: int
) -> NoReturn:
    leader = os.fork()
    if leader:
        os.write(tell, str(leader).encode())
        os._exit(0)
    control.close()
    os.close(tell)
    _or_exit(lambda: _lead(request, fds, main))


def _lead(request: dict[str, Any], fds: list[int], main: Main) -> NoReturn:
    """Become the leash of a new group whose one other process is the unit."""
    lifeline, *streams = fds
    os.setsid()
    os.chdir(request["folder"])
    for number, stream in enumerate((os.open(os.devnull, os.O_RDONLY), *streams)):
        os.dup2(stream, number)
        os.close(stream)
    # The leash takes SIGTERM once it is there; one that comes before waits, as it does for the unit.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    leader = os.getpid()
    unit = os.fork()
    if unit == 0:
        os.close(lifeline)
        _or_exit(lambda: _run(request["command"], leader, main))
    os.set_inheritable(lifeline, True)  # noqa: FBT003  positional only
    leash = [*request["leash"], str(lifeline), f"--of={unit}", *request["command"]]
    os.execv(leash[0], leash)  # noqa: S606  never a shell


def _run(command: list[str], leader: int, main: Main) -> NoReturn:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != leader:  # it died before we could say that we die with it
        os._exit(CRASH)
    setproctitle(" ".join(command))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    sys.argv = command[2:]
    code = main(command[1 + len(MODULE) :])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _or_exit(work: Callable[[], NoReturn]) -> NoReturn:
    """Let no forked process return into its parent's loop, whatever happens."""
    code = 1
    try:
        work()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001  a fresh interpreter would print it and exit with 1 as well
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)
