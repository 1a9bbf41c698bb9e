"""JSON lines, packed: written to a file here, read from a place, with a digest of what is unpacked."""

import gzip
import hashlib
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from core.backup.place import Lines
from core.storage.store import ObjectStore

LEVEL = 6


class Writer:
    """A file that lines are written to; ``lines`` tells of them once it is closed."""

    def __init__(self, path: Path) -> None:
        self._file = gzip.GzipFile(path, "wb", compresslevel=LEVEL, mtime=0)
        self._digest = hashlib.sha256()
        self._rows = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def write(self, told: Any) -> None:
        """Write one line."""
        line = json.dumps(told, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode() + b"\n"
        self._digest.update(line)
        self._file.write(line)
        self._rows += 1

    @property
    def lines(self) -> Lines:
        """What was written."""
        return Lines(self._rows, self._digest.hexdigest())


def read(place: ObjectStore, key: str, expected: Lines) -> Iterator[Any]:
    """Yield what each line tells; ValueError, at the latest at the end, when they are not as written."""
    digest, rows = hashlib.sha256(), 0
    try:
        with place.open(key) as stream, gzip.GzipFile(fileobj=stream) as unpacked:
            for line in unpacked:
                digest.update(line)
                rows += 1
                yield json.loads(line)
    except FileNotFoundError:
        raise ValueError(f"{key} is missing from the backup") from None
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise ValueError(f"{key} is damaged: {error}") from error
    if (rows, digest.hexdigest()) != (expected.rows, expected.sha256):
        raise ValueError(f"{key} is damaged: it does not hold the {expected.rows} rows that were written")
