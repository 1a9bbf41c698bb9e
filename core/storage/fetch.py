"""Objects to files."""

import os
import secrets
from pathlib import Path
from typing import BinaryIO

from core.storage.objects import CHUNK, Measured


def fetch(stream: BinaryIO, path: Path, *, key: str, sha256: str) -> None:
    """Write a stream to a path that appears whole; ValueError when its sha256 is another."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    measured = Measured(stream, None)
    try:
        with partial.open("xb") as file:
            while piece := measured.read(CHUNK):
                file.write(piece)
        if measured.stored.sha256 != sha256:
            raise ValueError(f"{key} in the store has sha256 {measured.stored.sha256}, not {sha256}")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
