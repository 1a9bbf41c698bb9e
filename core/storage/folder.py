"""Objects as files below a folder, for one host."""

import hashlib
import hmac
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote, urlencode

from core.storage.fetch import fetch
from core.storage.objects import CHUNK, Bound, Link, Measured, Span, Stat, Stored, buffered, check_key

PARTIAL = ".partial"  # no key may begin a part with a dot, so nothing in here can be asked for
TRIES = 20
ABANDONED_SECONDS = 24 * 3600.0  # since its last byte


class FolderStore:
    """Each object is one file that appears by a rename, after its bytes are on the disk.

    Args:
        root: the folder.
        public_url: where the API is reached, which serves the signed links.
        secret: what signs them.
        former: what signed them before; such links stay good to their end.
    """

    def __init__(
        self,
        root: Path,
        *,
        public_url: str,
        secret: bytes,
        former: tuple[bytes, ...] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._root = root
        self._public_url = public_url
        self._secret = secret
        self._former = former
        self._clock = clock

    def put(self, key: str, stream: BinaryIO, size: int | None, *, sha256: str | None = None) -> Stored:
        """Store a stream to its end; with a ``size`` or a ``sha256``, ValueError when it has another."""
        target = self._path(key)
        measured = Measured(stream, size, sha256=sha256)
        folder = self._root / PARTIAL
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / secrets.token_hex(16)
        try:
            with partial.open("xb") as file:
                while piece := measured.read(CHUNK):
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
            self._move(partial, target)
        finally:
            partial.unlink(missing_ok=True)
        return measured.stored

    def put_file(self, key: str, path: Path) -> Stored:
        """Store a file."""
        with path.open("rb") as stream:
            return self.put(key, stream, path.stat().st_size)

    @contextmanager
    def open(self, key: str, *, start: int = 0, length: int | None = None) -> Iterator[BinaryIO]:
        """Open an object, or ``length`` bytes of it from ``start``; FileNotFoundError without one."""
        path = self._path(key)
        if not path.is_file():
            raise FileNotFoundError(key)
        with path.open("rb") as stream:
            stream.seek(start)
            yield stream if length is None else buffered(Span(stream, length))

    def get_file(self, key: str, path: Path, *, sha256: str) -> None:
        """Write an object to a path that appears whole; ValueError when its sha256 is another."""
        with self.open(key) as stream:
            fetch(stream, path, key=key, sha256=sha256)

    def stat(self, key: str) -> Stat | None:
        """Return size and age; None when it is not there."""
        path = self._path(key)
        if not path.is_file():
            return None
        found = path.stat()
        tag = f"{found.st_ino:x}-{found.st_mtime_ns:x}-{found.st_size:x}"
        return Stat(found.st_size, datetime.fromtimestamp(found.st_mtime, UTC), tag)

    def exists(self, key: str) -> bool:
        """Tell whether the object is there."""
        return self._path(key).is_file()

    def delete(self, key: str) -> None:
        """Remove an object and the folders it leaves empty; nothing happens when it is not there."""
        path = self._path(key)
        path.unlink(missing_ok=True)
        for folder in path.parents:
            if folder == self._root:
                return
            try:
                folder.rmdir()
            except OSError:  # not empty: others live here
                return

    def list(self, prefix: str) -> Iterator[str]:
        """Yield the keys that begin with ``prefix``, sorted."""
        within = prefix.rpartition("/")[0]
        top = self._path(within) if within else self._root
        keys = []
        for folder, folders, files in os.walk(top):
            if PARTIAL in folders:
                folders.remove(PARTIAL)
            at = Path(folder).relative_to(self._root)
            keys += [(at / name).as_posix() for name in files]
        yield from sorted(key for key in keys if key.startswith(prefix))

    def signed_url(self, key: str, seconds: int) -> str:
        """Return an address of the API where anyone may read the object for so many seconds."""
        expires = int(self._clock()) + seconds
        query = urlencode({"expires": expires, "signature": self._sign(f"{key}\n{expires}")})
        return f"{self._public_url}/v1/objects/{quote(check_key(key))}?{query}"

    def verify(self, key: str, *, expires: int, signature: str) -> bool:
        """Tell whether a link is genuine and still good."""
        return self._genuine(f"{key}\n{expires}", signature) and self._clock() < expires

    def signed_put(self, key: str, bound: Bound, seconds: int) -> Link:
        """Return an address of the API where anyone may PUT what ``bound`` allows, for so many seconds."""
        expires = int(self._clock()) + seconds
        told: dict[str, str | int] = {"expires": expires, "length": bound.size}
        told |= {"sha256": bound.sha256} if bound.sha256 is not None else {}
        query = urlencode(told | {"signature": self._sign(_to_write(key, bound, expires))})
        return Link(f"{self._public_url}/v1/objects/{quote(check_key(key))}?{query}", {})

    def verify_put(self, key: str, bound: Bound, *, expires: int, signature: str) -> bool:
        """Tell whether an address to be written at is genuine and still good."""
        return self._genuine(_to_write(key, bound, expires), signature) and self._clock() < expires

    def prepare(self) -> None:
        """Make the folder, and remove what uploads left half-written whose process was killed long ago."""
        folder = self._root / PARTIAL
        folder.mkdir(parents=True, exist_ok=True)
        for partial in folder.iterdir():
            try:
                if self._clock() - partial.stat().st_mtime > ABANDONED_SECONDS:
                    partial.unlink()
            except FileNotFoundError:  # its upload has just ended
                continue

    def check(self) -> None:
        """Raise OSError when nothing can be written below the folder."""
        folder = self._root / PARTIAL
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f"probe-{secrets.token_hex(8)}"
        probe.touch()
        probe.unlink()

    def _path(self, key: str) -> Path:
        return self._root / check_key(key)

    def _sign(self, told: str) -> str:
        return _signature(self._secret, told)

    def _genuine(self, told: str, signature: str) -> bool:
        return any(
            hmac.compare_digest(_signature(secret, told).encode(), signature.encode())
            for secret in (self._secret, *self._former)
        )

    def _move(self, partial: Path, target: Path) -> None:
        """Rename into a folder that a delete may remove in the same moment, and make the rename last."""
        for again in range(TRIES):
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                partial.replace(target)
                break
            except FileNotFoundError:
                if again == TRIES - 1:
                    raise
        for folder in target.parents:
            _fsync(folder)
            if folder == self._root:
                break


def _signature(secret: bytes, told: str) -> str:
    return hmac.new(secret, told.encode(), hashlib.sha256).hexdigest()


def _to_write(key: str, bound: Bound, expires: int) -> str:
    """Return what is signed: with other lines than a link to read, so that neither passes for the other."""
    return f"PUT\n{key}\n{bound.size}\n{bound.sha256 or ''}\n{expires}"


def _fsync(folder: Path) -> None:
    """Make what was renamed into a folder outlive a loss of power."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:  # emptied and removed meanwhile, so there is nothing to keep
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
