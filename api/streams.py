"""Long answers: bytes from the store, zips made on the fly, server-sent events. None holds a session."""

import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from fastapi.responses import Response, StreamingResponse
from starlette.datastructures import Headers

from api.ranges import asked_range, is_known
from core.errors import NotFound
from core.sources import Source
from core.storage.store import ObjectStore

CHUNK = 256 * 1024


def attachment(filename: str) -> str:
    """Return a Content-Disposition for any file name."""
    return f"attachment; filename*=UTF-8''{quote(filename, safe='')}"


def _chunks(opened: AbstractContextManager[BinaryIO]) -> Iterator[bytes]:
    with opened as stream:
        while chunk := stream.read(CHUNK):
            yield chunk


def object_bytes(
    store: ObjectStore,
    key: str,
    asked: Headers,
    *,
    filename: str,
    media_type: str = "application/octet-stream",
    tag: str | None = None,
) -> Response:
    """Answer with an object of the store, or with the range of it that the headers ask for.

    Args:
        store: where it lies.
        key: under which key.
        asked: the request's headers.
        filename: what to call it.
        media_type: what it is.
        tag: what tells these bytes from others; None: what the store says.

    Raises:
        NotFound: in place of half an answer, when the object is not there.
    """
    found = store.stat(key)
    if found is None:
        raise NotFound(f"the bytes of {filename} are no longer in the store", code="object_gone")
    etag = f'"{tag or found.tag}"'
    headers = {
        "Accept-Ranges": "bytes",
        "ETag": etag,
        "Content-Disposition": attachment(filename),
        "X-Content-Type-Options": "nosniff",
    }
    if is_known(asked, etag):
        return Response(status_code=304, headers=headers)
    span = asked_range(asked, size=found.size, etag=etag)
    if span is None:
        headers["Content-Length"] = str(found.size)
        return StreamingResponse(_chunks(store.open(key)), media_type=media_type, headers=headers)
    headers |= {"Content-Length": str(span.length), "Content-Range": span.told(found.size)}
    opened = store.open(key, start=span.start, length=span.length)
    return StreamingResponse(_chunks(opened), status_code=206, media_type=media_type, headers=headers)


@dataclass(frozen=True)
class Entry:
    """One file of a zip: where it goes, and how its bytes are had."""

    path: str
    opened: Callable[[], AbstractContextManager[BinaryIO]]


def _read(path: Path) -> BinaryIO:
    return path.open("rb")


def entries_of(store: ObjectStore, source: Source) -> Iterator[Entry]:
    """Yield the files of a source: of a folder on this host, or of the store."""
    if source.folder is not None:
        root = Path(source.folder)
        for path in sorted(root.rglob("*")):
            if path.is_file():
                yield Entry(path.relative_to(root).as_posix(), partial(_read, path))
    for file in source.files:
        yield Entry(file.path, partial(store.open, file.key))


@dataclass
class _Sink:
    """A file that can only be written; zipfile then writes sizes and checksums after each entry."""

    pieces: list[bytes] = field(default_factory=list)

    def write(self, data: bytes) -> int:
        self.pieces.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing waits here."""

    def drain(self) -> bytes:
        data = b"".join(self.pieces)
        self.pieces.clear()
        return data


def zip_chunks(files: Iterable[Entry]) -> Iterator[bytes]:
    """Yield a zip of the files while reading them. Stored, not deflated: weights do not compress."""
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:  # type: ignore[call-overload]  # write-only is documented to work
        for file in files:
            entry = zipfile.ZipInfo(file.path, date_time=(1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            with file.opened() as source, archive.open(entry, "w", force_zip64=True) as target:
                while chunk := source.read(CHUNK):
                    target.write(chunk)
                    yield sink.drain()
            yield sink.drain()
    yield sink.drain()
