"""Where bytes live: one interface over a folder and any S3."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, Protocol

from core.settings import Settings
from core.storage.folder import FolderStore
from core.storage.objects import Bound, Link, Stat, Stored
from core.storage.s3 import S3Store


class ObjectStore(Protocol):
    """Objects by key. A key is ``parts/with/slashes``; what is refused raises ValueError.

    An object appears whole or not at all, and ``put`` to a key that is taken replaces it whole.
    """

    def put(self, key: str, stream: BinaryIO, size: int | None, *, sha256: str | None = None) -> Stored:
        """Store a stream to its end; with a ``size`` or a ``sha256``, ValueError when it has another."""

    def put_file(self, key: str, path: Path) -> Stored:
        """Store a file."""

    def open(
        self, key: str, *, start: int = 0, length: int | None = None
    ) -> AbstractContextManager[BinaryIO]:
        """Open an object, or ``length`` bytes of it from ``start``; FileNotFoundError without one."""

    def get_file(self, key: str, path: Path, *, sha256: str) -> None:
        """Write an object to a path that appears whole; ValueError when its sha256 is another."""

    def stat(self, key: str) -> Stat | None:
        """Return size and age; None when it is not there."""

    def exists(self, key: str) -> bool:
        """Tell whether the object is there."""

    def delete(self, key: str) -> None:
        """Remove an object; nothing happens when it is not there."""

    def list(self, prefix: str) -> Iterator[str]:
        """Yield the keys that begin with ``prefix``, sorted."""

    def signed_url(self, key: str, seconds: int) -> str:
        """Return an address where anyone may read the object for so many seconds."""

    def verify(self, key: str, *, expires: int, signature: str) -> bool:
        """Tell whether a link served by our own API is genuine and still good; always False for S3."""

    def signed_put(self, key: str, bound: Bound, seconds: int) -> Link:
        """Return an address where anyone may PUT what ``bound`` allows, nothing else, for so many seconds.

        What was put there must still be checked: a store may not know every header that binds it.
        """

    def verify_put(self, key: str, bound: Bound, *, expires: int, signature: str) -> bool:
        """Tell the same of an address to be written at; always False for S3."""

    def prepare(self) -> None:
        """Make the folder or the bucket when it is not there yet."""

    def check(self) -> None:
        """Raise StoreUnavailable or OSError when the store cannot be used."""


def store_for(settings: Settings) -> ObjectStore:
    """Return the store that ``settings.store_url`` names."""
    if settings.store_url.startswith("file://"):
        return FolderStore(
            Path(settings.store_url.removeprefix("file://")),
            public_url=settings.public_url,
            secret=settings.signing_secret(),
            former=settings.former_secrets(),
        )
    return S3Store.from_url(settings.store_url)
