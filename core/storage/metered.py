"""A store whose every operation is counted: how it ended, how long it took, how many bytes went."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from prometheus_client import CollectorRegistry, Counter, Histogram

from core.errors import StoreUnavailable
from core.storage.objects import Bound, Link, Stat, Stored
from core.storage.store import ObjectStore

OPERATIONS = ("put", "open", "get", "stat", "delete", "list", "check")
OUTCOMES = ("ok", "missing", "unavailable", "refused", "wrong", "failed")
SECONDS = (0.01, 0.1, 1, 10, 60, 600)


class StoreMeters:
    """What a process counts of its store; each outcome is there from the start: a first error is a rise."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._operations = Counter(
            "spindle_store_operations",
            "Operations of this process on the object store, by how they ended.",
            ("operation", "outcome"),
            registry=registry,
        )
        self._seconds = Histogram(
            "spindle_store_seconds",
            "Seconds that operations on the object store took.",
            ("operation",),
            registry=registry,
            buckets=SECONDS,
        )
        self._bytes = Counter(
            "spindle_store_bytes", "Bytes that went to or came from the store.", ("way",), registry=registry
        )
        for operation in OPERATIONS:
            for outcome in OUTCOMES:
                self._operations.labels(operation, outcome)
        for way in ("in", "out"):
            self._bytes.labels(way)

    @contextmanager
    def operation(self, name: str) -> Iterator[None]:
        """Count what is done inside."""
        outcome, began = "ok", time.perf_counter()
        try:
            yield
        except BaseException as error:
            outcome = outcome_of(error)
            raise
        finally:
            self._operations.labels(name, outcome).inc()
            self._seconds.labels(name).observe(time.perf_counter() - began)

    def moved(self, way: str, size: int) -> None:
        """Count bytes: ``in`` to the store, ``out`` of it."""
        self._bytes.labels(way).inc(size)


def outcome_of(error: BaseException) -> str:
    """Return one of ``OUTCOMES`` for what an operation raised.

    ``missing`` and ``wrong`` tell of an object; ``unavailable``, ``refused`` and ``failed`` of the store.
    """
    match error:
        case FileNotFoundError():
            return "missing"
        case StoreUnavailable():
            return "unavailable"
        case PermissionError():
            return "refused"
        case ValueError():
            return "wrong"
    return "failed"


class MeteredStore:
    """Passes everything on to a store, and counts it; not how long a stream that was opened is read."""

    def __init__(self, store: ObjectStore, meters: StoreMeters) -> None:
        self._store = store
        self._meters = meters

    def put(self, key: str, stream: BinaryIO, size: int | None, *, sha256: str | None = None) -> Stored:
        """Store a stream to its end; with a ``size`` or a ``sha256``, ValueError when it has another."""
        with self._meters.operation("put"):
            stored = self._store.put(key, stream, size, sha256=sha256)
        self._meters.moved("in", stored.size)
        return stored

    def put_file(self, key: str, path: Path) -> Stored:
        """Store a file."""
        with self._meters.operation("put"):
            stored = self._store.put_file(key, path)
        self._meters.moved("in", stored.size)
        return stored

    @contextmanager
    def open(self, key: str, *, start: int = 0, length: int | None = None) -> Iterator[BinaryIO]:
        """Open an object, or ``length`` bytes of it from ``start``; FileNotFoundError without one."""
        with ExitStack() as stack:
            with self._meters.operation("open"):
                stream = stack.enter_context(self._store.open(key, start=start, length=length))
            yield stream

    def get_file(self, key: str, path: Path, *, sha256: str) -> None:
        """Write an object to a path that appears whole; ValueError when its sha256 is another."""
        with self._meters.operation("get"):
            self._store.get_file(key, path, sha256=sha256)
        self._meters.moved("out", path.stat().st_size)

    def stat(self, key: str) -> Stat | None:
        """Return size and age; None when it is not there."""
        with self._meters.operation("stat"):
            return self._store.stat(key)

    def exists(self, key: str) -> bool:
        """Tell whether the object is there."""
        with self._meters.operation("stat"):
            return self._store.exists(key)

    def delete(self, key: str) -> None:
        """Remove an object; nothing happens when it is not there."""
        with self._meters.operation("delete"):
            self._store.delete(key)

    def list(self, prefix: str) -> Iterator[str]:
        """Yield the keys that begin with ``prefix``, sorted."""
        with self._meters.operation("list"):
            found = [*self._store.list(prefix)]
        yield from found

    def signed_url(self, key: str, seconds: int) -> str:
        """Return an address where anyone may read the object for so many seconds."""
        return self._store.signed_url(key, seconds)

    def verify(self, key: str, *, expires: int, signature: str) -> bool:
        """Tell whether a link served by our own API is genuine and still good."""
        return self._store.verify(key, expires=expires, signature=signature)

    def signed_put(self, key: str, bound: Bound, seconds: int) -> Link:
        """Return an address where anyone may PUT what ``bound`` allows, nothing else, for so many seconds."""
        return self._store.signed_put(key, bound, seconds)

    def verify_put(self, key: str, bound: Bound, *, expires: int, signature: str) -> bool:
        """Tell the same of an address to be written at."""
        return self._store.verify_put(key, bound, expires=expires, signature=signature)

    def prepare(self) -> None:
        """Make the folder or the bucket when it is not there yet."""
        self._store.prepare()

    def check(self) -> None:
        """Raise StoreUnavailable or OSError when the store cannot be used."""
        with self._meters.operation("check"):
            self._store.check()
