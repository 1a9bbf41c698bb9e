"""What both stores share: what a key may be, what an object is, and reading that counts and hashes."""

import hashlib
import io
import mimetypes
import re
from collections.abc import Callable
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
    tag: str
    """Another one when the bytes are others."""


@dataclass(frozen=True)
class Bound:
    """What a signed address lets be written: so many bytes, and only those of this sha256 when it is told."""

    size: int
    sha256: str | None = None


@dataclass(frozen=True)
class Link:
    """A signed address, and the headers that must be sent with it as they are."""

    url: str
    headers: dict[str, str]


def check_key(key: str) -> str:
    """Return the key; ValueError when it could leave its folder, hide, or mean two things to two stores."""
    if len(key) > MAX_KEY or not all(PART.fullmatch(part) for part in key.split("/")):
        raise ValueError(f"{key[:200]!r} is not an object key")
    return key


def media_type(name: str) -> str:
    """Return what an object is, by its name's ending."""
    return mimetypes.guess_type(name)[0] or "application/octet-stream"


class Measured(io.RawIOBase):
    """A stream that counts and hashes what is read from it, and refuses to end at another size or digest."""

    def __init__(self, stream: BinaryIO, expected: int | None, *, sha256: str | None = None) -> None:
        super().__init__()
        self._stream = stream
        self._expected = expected
        self._sha256 = sha256
        self._digest = hashlib.sha256()
        self.size = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Read ``size`` bytes, fewer only at the end; ValueError when they are not what was announced."""
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
        if ended and self._sha256 is not None and self._digest.hexdigest() != self._sha256:
            raise ValueError(f"sha256 {self._sha256} was announced, but the stream's is another")
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


class Pulled(io.RawIOBase):
    """A stream of pieces of any size, each pulled when it is needed; the empty one is the end."""

    def __init__(self, pull: Callable[[], bytes]) -> None:
        super().__init__()
        self._pull = pull
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer from what is left of a piece, or from the next one."""
        self._rest = self._rest or memoryview(self._pull())
        taken = self._rest[: len(buffer)]
        buffer[: len(taken)] = taken
        self._rest = self._rest[len(taken) :]
        return len(taken)


def buffered(raw: io.RawIOBase) -> BinaryIO:
    """Return a raw stream with ``read(n)`` that gives n bytes unless it ends."""
    return io.BufferedReader(raw, CHUNK)
