"""Files that come from the platform: whole or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from spindle.errors import NotRunningError


@contextmanager
def whole(path: Path) -> Iterator[BinaryIO]:
    """Open a file beside ``path`` that takes its place when all is written, and goes away when not."""
    partial = path.with_name(path.name + ".part")
    try:
        with partial.open("wb") as out:
            yield out
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def broken_off(path: Path, error: Exception) -> NotRunningError:
    """Return the error of a download whose connection failed."""
    return NotRunningError(f"The download of {path.name} broke off: {error}. Start it again.")
