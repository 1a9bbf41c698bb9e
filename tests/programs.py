"""Programs that tests need and pip does not bring: the one on PATH, else Debian's package, installed now."""

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

import pytest

LOCK = Path(tempfile.gettempdir()) / "spindle-programs.lock"
APT_GET = ("apt-get", "-o", "Acquire::Retries=3", "-y", "--no-install-recommends")
Way = Sequence[Sequence[str]]


def on_path(*names: str) -> str | None:
    """Return the first of these programs that there is; system programs need not be on an ordinary PATH."""
    places = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))
    return next((path for name in names if (path := shutil.which(name, path=places))), None)


def program(name: str, *, package: str) -> str:
    """Return the path of a program, from a package of Debian's if there is none.

    Where it cannot be had the test fails in CI, and is skipped elsewhere.
    """
    path, said = installed(lambda: on_path(name), [debian(package)])
    if path is None:
        lacking(f"{name} cannot be had; install it (Debian's package is {package}):\n{said}")
    return path


def lacking(told: str) -> NoReturn:
    """End a test for want of a part: a failure in CI, a skip elsewhere."""
    if os.environ.get("CI"):
        pytest.fail(told)
    pytest.skip(told)


def installed(find: Callable[[], str | None], ways: Sequence[Way]) -> tuple[str | None, str]:
    """Return what ``find`` finds, trying one way to install it after the other, and what was said."""
    with LOCK.open("a") as lock:  # several test processes ask at once
        fcntl.flock(lock, fcntl.LOCK_EX)
        said = []
        for commands in ways:
            if find() is not None:
                break
            for command in commands:
                ran = subprocess.run(
                    command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
                )
                said.append(f"{' '.join(command)}: exit code {ran.returncode}\n{ran.stderr[-1000:]}")
                if ran.returncode:
                    break
        return find(), "\n".join(said)


def debian(*packages: str) -> Way:
    """Return how to install packages of Debian's; no way at all for who may not."""
    if not shutil.which("apt-get") or os.geteuid() != 0:
        return []
    return [(*APT_GET, "update"), (*APT_GET, "install", *packages)]
