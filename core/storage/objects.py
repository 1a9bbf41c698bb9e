"""What both stores share: what a key may be, what an object is, and reading that counts and hashes."""

import hashlib
import io
import mimetypes
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any, BinaryIO

CHUNK = 1 << 20
PART = re.compile(r"[A-Za-z0-9_@=+:,()-][A-Za-z0-9_.@=+:,() -]*")
MAX_KEY = 900


@dataclass(frozen=True)
class Stored:
    """An object as it lies in the store."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Stat:
    """What can be told of an object without reading it."""

    size: int
    modified: datetime


def check_key(key: str) -> str:
    """Return the key; ValueError when it could leave its folder, hide, or mean two things to two stores."""
    if len(key) > MAX_KEY or not all(PART.fullmatch(part) for part in key.split("/")):
        raise ValueError(f"{key[:200]!r} is not an object key")
    return key


def media_type(name: str) -> str:
    """Return what an object is, by its name's ending."""
    return mimetypes.guess_type(name)[0] or "application/octet-stream"


class Measured(io.RawIOBase):
    """A stream that counts and hashes what is read from it, and refuses to end at another size."""

    def __init__(self, stream: BinaryIO, expected: int | None) -> None:
        super().__init__()
        self._stream = stream
        self._expected = expected
        self._digest = hashlib.sha256()
        self.size = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Read ``size`` bytes, fewer only at the end; ValueError when it has not the expected size."""
        pieces = []
        left = size if size >= 0 else None
        ended = False
        while left is None or left > 0:
            piece = self._stream.read(CHUNK if left is None else min(left, CHUNK))
            if not piece:
                ended = True
                break
            pieces.append(piece)
            if left is not None:
                left -= len(piece)
        data = b"".join(pieces)
        self._digest.update(data)
        self.size += len(data)
        wrong = self._expected is not None and (
            self.size > self._expected or (ended and self.size < self._expected)
        )
        if wrong:
            raise ValueError(f"{self._expected} bytes were announced, but the stream has not that many")
        return data

    @property
    def stored(self) -> Stored:
        """What was read so far."""
        return Stored(self.size, self._digest.hexdigest())


class Span(io.RawIOBase):
    """What is left of a stream, or at most ``length`` bytes of it."""

    def __init__(self, stream: BinaryIO, length: int | None) -> None:
        super().__init__()
        self._stream = stream
        self._left = length

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer as far as the span and the stream go."""
        wanted = len(buffer) if self._left is None else min(len(buffer), self._left)
        piece = self._stream.read(wanted)
        if self._left is not None:
            self._left -= len(piece)
        buffer[: len(piece)] = piece
        return len(piece)


def buffered(raw: io.RawIOBase) -> BinaryIO:
    """Return a raw stream with ``read(n)`` that gives n bytes unless it ends."""
    return io.BufferedReader(raw, CHUNK)
