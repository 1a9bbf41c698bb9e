"""``/v1/files`` and ``/v1/uploads``: a large file goes up in parts, which a lost connection does not undo."""

import hashlib
import io
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from spindle import results
from spindle.call import Call, Listing, Plan, Upload, post
from spindle.call import delete as _delete
from spindle.call import get as _get
from spindle.errors import SpindleError, UploadBrokenError

FILES = "/v1/files"
UPLOADS = "/v1/uploads"
WHOLE_BYTES = 16 << 20
PART_BYTES = 16 << 20
MOST_PARTS = 1000
ANY_TYPE = "application/octet-stream"

Progress = Callable[[int, int], object]


def upload(
    path: Path,
    *,
    purpose: str = "fine-tune",
    resume: str | None = None,
    progress: Progress | None = None,
    begun: Callable[[str], object] | None = None,
    part_bytes: int = PART_BYTES,
) -> Plan[results.File]:
    """Upload a file from disk. Above 16 MiB it goes in parts, each sent again when the connection fails.

    Args:
        path: of the file.
        purpose: what it is for.
        resume: id of an upload that broke off (UploadBrokenError); what has arrived is not sent again.
        progress: called with the bytes that have arrived and those there are.
        begun: called with the id of an upload in parts when it begins, to be resumed by whatever happens.
        part_bytes: the size of a part.

    Raises:
        SpindleError: the file cannot be read.
        UploadBrokenError: it broke off and can be resumed.
    """
    try:
        stream = path.open("rb")
    except OSError as error:
        raise SpindleError(f"Cannot read {path}: {error.strerror}") from error
    with stream:
        size = path.stat().st_size
        if size <= min(WHOLE_BYTES, part_bytes) and resume is None:
            form = Upload(stream, path.name, {"purpose": purpose})
            file: results.File = yield Call("POST", FILES, results.File.model_validate, upload=form)
            _tell(progress, size, size)
            return file
        upload_id = resume or (yield from _begin(path.name, size, purpose, begun))
        try:
            there = {} if resume is None else (yield from _arrived(upload_id))
            pieces = _pieces(stream, max(part_bytes, -(-size // MOST_PARTS)))
            return (yield from _in_parts(upload_id, pieces, there, lambda sent: _tell(progress, sent, size)))
        except SpindleError as error:
            raise UploadBrokenError(
                f"The upload of {path} broke off: {error}\n"
                f"Go on with it: `spindle files upload {shlex.quote(str(path))} --resume {upload_id}`",
                upload_id=upload_id,
            ) from error


def get(file_id: str) -> Call[results.File]:
    """Return a file's description."""
    return _get(results.File, f"{FILES}/{file_id}")


def list_(*, limit: int | None = None) -> Listing[results.File]:
    """Yield files, newest first."""
    return Listing(results.File, FILES, limit)


def delete(file_id: str) -> Call[results.Deleted]:
    """Delete a file."""
    return _delete(f"{FILES}/{file_id}")


def get_upload(upload_id: str) -> Call[results.Upload]:
    """Return an upload in parts as it stands."""
    return _get(results.Upload, f"{UPLOADS}/{upload_id}")


def parts(upload_id: str) -> Listing[results.UploadPart]:
    """Yield the parts of an upload that have arrived."""
    return Listing(results.UploadPart, f"{UPLOADS}/{upload_id}/parts")


def cancel_upload(upload_id: str) -> Call[results.Upload]:
    """Give up an upload; what has arrived of it is deleted."""
    return post(results.Upload, f"{UPLOADS}/{upload_id}/cancel")


def _begin(filename: str, size: int, purpose: str, begun: Callable[[str], object] | None) -> Plan[str]:
    """Begin an upload in parts and return its id."""
    told = {"filename": filename, "purpose": purpose, "bytes": size, "mime_type": ANY_TYPE}
    made: results.Upload = yield post(results.Upload, UPLOADS, told)
    if begun is not None:
        begun(made.id)
    return made.id


def _in_parts(
    upload_id: str, pieces: Iterator[bytes], there: dict[str, str], sent: Callable[[int], None]
) -> Plan[results.File]:
    """Send the parts that are not there, known by their digests, and complete the upload."""
    whole, ids, size = hashlib.sha256(), [], 0
    for piece in pieces:
        whole.update(piece)
        digest = hashlib.sha256(piece).hexdigest()
        if digest not in there:
            part: results.UploadPart = yield _part(upload_id, piece, digest)
            there[digest] = part.id
        ids.append(there[digest])
        size += len(piece)
        sent(size)
    told = {"part_ids": ids, "sha256": whole.hexdigest()}
    done: results.Upload = yield post(results.Upload, f"{UPLOADS}/{upload_id}/complete", told)
    if done.file is None:
        raise SpindleError(f"{upload_id} is {done.status} and has no file.")
    return done.file


def _arrived(upload_id: str) -> Plan[dict[str, str]]:
    """Return the ids of the parts that have arrived, by the digest of their bytes."""
    pages = parts(upload_id).pages()
    found: dict[str, str] = {}
    call = next(pages, None)
    while call is not None:
        items: list[results.UploadPart] = yield call
        found |= {each.sha256: each.id for each in items if each.sha256 is not None and each.received}
        try:
            call = pages.send(items)
        except StopIteration:
            call = None
    return found


def _part(upload_id: str, piece: bytes, digest: str) -> Call[results.UploadPart]:
    return Call(
        "POST",
        f"{UPLOADS}/{upload_id}/parts",
        results.UploadPart.model_validate,
        upload=Upload(io.BytesIO(piece), "part", field="data"),
        headers={"X-Content-SHA256": digest},
    )


def _pieces(stream: BinaryIO, size: int) -> Iterator[bytes]:
    while piece := stream.read(size):
        yield piece


def _tell(progress: Progress | None, done: int, of: int) -> None:
    if progress is not None:
        progress(done, of)
