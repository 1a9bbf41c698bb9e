"""A platform that runs for as long as it is needed: the one that is there, or one started for the purpose."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from spindle.client import Spindle
from spindle.errors import NotRunningError, SpindleError
from spindle.location import importable, locate
from spindle.profile import Profile

ALONE = "demo"  # marks a state folder that no SPINDLE_ setting of the environment is meant for
START_SECONDS = 240.0
STOP_SECONDS = 15.0


@contextmanager
def temporary(
    state: Path,
    *,
    alone: bool = False,
    settings: dict[str, str] | None = None,
    profile: Profile = Profile.embedded,
) -> Iterator[Spindle]:
    """Start ``spindle up`` on a free port with this state folder, and stop it at the end.

    Args:
        state: the state folder.
        alone: leave every SPINDLE_ setting of the environment behind, so that only ``state`` is touched.
        settings: SPINDLE_ settings of this platform.
        profile: what its database, store and queue are.

    Raises:
        SpindleError: it did not start; the text is what it said.
    """
    kept = {name: value for name, value in os.environ.items() if not (alone and name.startswith("SPINDLE_"))}
    command = [
        sys.executable,
        "-m",
        "spindle",
        "up",
        "--port",
        "0",
        "--state",
        str(state),
        "--profile",
        profile,
        "--until-stdin-closes",
    ]
    state.mkdir(parents=True, exist_ok=True)
    with Spindle(state=state) as there:
        if (state / "url").exists() and there.alive():
            raise SpindleError(f"Spindle already runs with {state}, at {there.location.url}. Stop it first.")
    (state / "url").unlink(missing_ok=True)  # left by one that was killed
    said = state / "up.log"
    with said.open("wb") as log:
        # Its own session: Ctrl-C reaches this process alone, which then stops it in order.
        process = subprocess.Popen(
            command,
            env=importable(kept | (settings or {})),
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        _wait_until_ready(process, state, said)
        with Spindle(state=state) as client:
            yield client
    finally:
        _stop(process)


@contextmanager
def available(
    *, state: Path | None, url: str | None, key: str | None, tell: Callable[[str], None]
) -> Iterator[Spindle]:
    """Connect to the platform of a state folder, and start it for this purpose where it does not run.

    Raises:
        NotRunningError: nothing answers at an address that was given in words, or the folder was never used.
        SpindleError: it did not start.
    """
    location = locate(state=state, url=url, key=key)
    client = Spindle(state=state, url=url, key=key)
    if location.given or client.alive():
        with client:
            yield client
        return
    client.close()
    if not (location.state / "key").exists():
        raise NotRunningError(
            f"Spindle does not run, and {location.state} holds no models. Start it with `spindle up`."
        )
    tell(f"Spindle does not run with {location.state}: starting it for this once.")
    with temporary(location.state, alone=(location.state / ALONE).exists()) as started:
        yield started


def _wait_until_ready(process: subprocess.Popen[bytes], state: Path, said: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while not (state / "url").exists():
        if process.poll() is not None or time.monotonic() > end:
            text = said.read_text(errors="replace").strip()
            raise SpindleError(f"Spindle did not start:\n{text or f'exit code {process.returncode}'}")
        time.sleep(0.1)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Stop the supervisor, which stops its services; a second signal makes it stop them at once."""
    assert process.stdin is not None, "it was started with a pipe"
    for signum in (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None:
            process.send_signal(signum)
        try:
            process.wait(STOP_SECONDS)
            break
        except subprocess.TimeoutExpired:
            continue
    process.stdin.close()
