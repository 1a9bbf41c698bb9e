"""Where a Spindle is: its state folder, address and key."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from spindle.errors import SpindleError

DEFAULT_STATE = Path(".spindle")
DEFAULT_URL = "http://127.0.0.1:8000"


@dataclass(frozen=True)
class Location:
    """An address, a key, and how the address was found.

    Attributes:
        state: the state folder that was looked into.
        url: the address without a slash at its end.
        key: the API key, None where none is known.
        given: whether the address was given in words (argument or SPINDLE_URL), not found in ``state``.
    """

    state: Path
    url: str
    key: str | None
    given: bool


def state_folder(state: Path | None = None) -> Path:
    """Return the state folder: the argument, else SPINDLE_STATE, else ``./.spindle``; absolute."""
    return (state or Path(os.environ.get("SPINDLE_STATE") or DEFAULT_STATE)).expanduser().absolute()


def locate(*, state: Path | None = None, url: str | None = None, key: str | None = None) -> Location:
    """Find the platform: arguments win over the environment, and that over the files in the state folder.

    A state folder given as an argument wins over SPINDLE_URL and SPINDLE_API_KEY, which then mean
    another platform.
    """
    folder = state_folder(state)
    environment = {} if state else os.environ
    given = url or environment.get("SPINDLE_URL")
    found = given or _line(folder / "url") or DEFAULT_URL
    secret = key or environment.get("SPINDLE_API_KEY") or _line(folder / "key")
    return Location(state=folder, url=found.rstrip("/"), key=secret, given=bool(given))


def _line(path: Path) -> str | None:
    try:
        return path.read_text().strip() or None
    except OSError:
        return None


def importable(environment: dict[str, str]) -> dict[str, str]:
    """Return an environment in which Python finds this installation from any folder."""
    root = str(Path(__file__).resolve().parents[1])
    return environment | {"PYTHONPATH": os.pathsep.join(filter(None, (root, environment.get("PYTHONPATH"))))}


@contextmanager
def sole_owner(state: Path) -> Iterator[None]:
    """Hold the state folder, so that two platforms never share one.

    Raises:
        SpindleError: another one holds it.
    """
    with (state / "up.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SpindleError(
                f"Spindle already runs with {state}. Stop it, or choose another --state."
            ) from error
        yield


def write_whole(path: Path, text: str) -> None:
    """Write a small file so that a reader sees all of it or the one before."""
    partial = path.with_name(path.name + ".part")
    partial.write_text(text + "\n")
    partial.replace(path)
