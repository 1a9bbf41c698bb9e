"""Hostile archives: a zip or tar is read in place, never unpacked, and refused when it is not plain files.

A name never becomes a path on this host. Every byte that is read counts against the limits, whatever the
archive's own headers say.
"""

import errno
import gzip
import io
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO, TypeVar

from core.ingest.limits import BadArchive, BadRow, Limits, size_in_words
from core.ingest.members import BLOCK, Headers, Span, check_tar_member, check_zip_entry

CHUNK = 1 << 20
RATIO_MATTERS_FROM = 10 << 20
LONGEST_NAME = 1000
DAMAGED = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError, NotImplementedError)
MALFORMED = (*DAMAGED, ValueError, RecursionError, OverflowError)
WANTED = "upload a zip or tar of pictures with captions, or a parquet file"
ANEW = "pack it anew and upload it again"
IGNORED_FOLDERS = frozenset({"__MACOSX"})

EntryT = TypeVar("EntryT")


@dataclass
class Archive:
    """The files of an archive by name, and a budget for what may still be read of them."""

    limits: Limits
    sizes: dict[str, int]
    opened: Callable[[str], BinaryIO]
    left: int = field(init=False)

    def __post_init__(self) -> None:
        self.left = self.limits.max_unpacked_bytes

    def read(self, name: str, *, at_most: int) -> bytes:
        """Return a file's bytes.

        Raises:
            BadRow: it is larger than ``at_most``, or damaged.
            BadArchive: the budget of the whole archive is used up.
        """
        try:
            with self.opened(name) as stream:
                data = stream.read(at_most + 1)
        except DAMAGED as error:
            raise BadRow(f"damaged: {error}") from error
        self._spend(len(data))
        if len(data) > at_most:
            raise BadRow(f"larger than {size_in_words(at_most)}")
        return data

    def save(self, name: str, target: Path, *, at_most: int) -> None:
        """Write a file's bytes to a path; BadArchive when they are more than ``at_most``, or damaged."""
        written = 0
        try:
            with self.opened(name) as stream, target.open("wb") as sink:
                while chunk := stream.read(CHUNK):
                    written += len(chunk)
                    self._spend(len(chunk))
                    if written > at_most:
                        raise BadArchive(f"{name} is larger than {size_in_words(at_most)}")
                    sink.write(chunk)
        except DAMAGED as error:
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                raise
            raise BadArchive(f"{name} is damaged: {error}") from error

    def lines(self, name: str, *, at_most: int) -> Generator[bytes, None, None]:
        """Yield a file's lines; BadArchive when one is longer than ``at_most`` bytes, or damaged."""
        try:
            with self.opened(name) as stream:
                while line := stream.readline(at_most + 1):
                    self._spend(len(line))
                    if len(line) > at_most:
                        raise BadArchive(f"{name} has a line longer than {size_in_words(at_most)}")
                    yield line
        except DAMAGED as error:
            raise BadArchive(f"{name} is damaged: {error}") from error

    def _spend(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise _too_much(self.limits)


@contextmanager
def open_archive(path: Path, *, scratch: Path, limits: Limits) -> Iterator[Archive]:
    """Open a zip, tar or tar.gz; ``scratch`` is a folder for the one file that unpacking a tar.gz needs.

    Raises:
        BadArchive: it is no archive, damaged, over a limit, or holds what is no plain file or folder.
    """
    with path.open("rb") as stream:
        start = stream.read(4)
    if start[:2] == b"\x1f\x8b":
        with _unzipped(path, scratch / "unpacked.tar", limits) as plain, _open_tar(plain, limits) as archive:
            yield archive
    elif start[:2] == b"PK":
        with _open_zip(path, limits) as archive:
            yield archive
    else:
        with _open_tar(path, limits) as archive:
            yield archive


@contextmanager
def _open_zip(path: Path, limits: Limits) -> Iterator[Archive]:
    try:
        opened = zipfile.ZipFile(path)
    except MALFORMED as error:
        raise BadArchive(f"the zip is damaged or cut off ({error}): {ANEW}") from error
    with opened:
        entries = opened.infolist()
        _check_count(len(entries), limits)
        if sum(entry.compress_size for entry in entries) > path.stat().st_size:
            raise BadArchive("the zip's entries overlap, as those of a zip bomb do")
        names: dict[str, zipfile.ZipInfo] = {}
        total = 0
        for entry in entries:
            total += entry.file_size
            check_zip_entry(entry)
            if _is_bomb(entry.file_size, entry.compress_size, limits):
                raise _bomb(entry.orig_filename, limits)
            _check_total(total, limits)
            name = _checked_name(entry.orig_filename)
            if not entry.is_dir() and not _ignored(name):
                _add(names, name, entry)
        _check_some(names)

        def open_entry(name: str) -> BinaryIO:
            return opened.open(names[name])  # type: ignore[return-value]  # ZipExtFile reads like one

        yield Archive(limits, {name: entry.file_size for name, entry in names.items()}, open_entry)


@contextmanager
def _open_tar(path: Path, limits: Limits) -> Iterator[Archive]:
    with path.open("rb") as stream:
        places = _places(Headers(stream), limits)

        def open_member(name: str) -> BinaryIO:
            start, size = places[name]
            return io.BufferedReader(Span(stream, start=start, length=size))

        yield Archive(limits, {name: size for name, (_, size) in places.items()}, open_member)


def _places(headers: Headers, limits: Limits) -> dict[str, tuple[int, int]]:
    """Return where each file of a tar begins, and how long it is: a hundred bytes of memory for each."""
    try:
        # tarfile takes anything with read, seek and tell for a file.
        opened = tarfile.open(fileobj=headers, mode="r:")  # type: ignore[call-overload]  # noqa: SIM115
    except MALFORMED as error:
        if isinstance(error, BadArchive):
            raise
        raise BadArchive(f"the file is neither a zip nor a tar: {WANTED}") from error
    names: dict[str, tuple[int, int]] = {}
    count = total = end = 0
    try:
        while (member := opened.next()) is not None:
            opened.members.clear()  # or it keeps all of them
            count += 1
            _check_count(count, limits)
            total += member.size
            _check_total(total, limits)
            check_tar_member(member)
            end = member.offset_data + -(-member.size // BLOCK) * BLOCK
            name = _checked_name(member.name)
            if member.isfile() and not _ignored(name):
                _add(names, name, (member.offset_data, member.size))
    except BadArchive:
        raise
    except MALFORMED as error:
        raise BadArchive(f"the tar is damaged or cut off ({error}): {ANEW}") from error
    headers.seek(end)
    # tarfile takes a damaged header in the middle for the end; only the end mark tells.
    if headers.read(BLOCK) != bytes(BLOCK):
        raise BadArchive(f"the tar is damaged or cut off (it has no end mark): {ANEW}")
    _check_some(names)
    return names


@contextmanager
def _unzipped(path: Path, target: Path, limits: Limits) -> Iterator[Path]:
    """Unpack a tar.gz into one file, within the limits."""
    packed = path.stat().st_size
    written = 0
    try:
        with gzip.open(path) as source, target.open("wb") as sink:
            while chunk := source.read(CHUNK):
                written += len(chunk)
                if written > limits.max_unpacked_bytes:
                    raise _too_much(limits)
                if _is_bomb(written, packed, limits):
                    raise _bomb("the archive", limits)
                sink.write(chunk)
        yield target
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise BadArchive(f"the tar.gz is damaged or cut off ({error}): {ANEW}") from error
    finally:
        target.unlink(missing_ok=True)


def _checked_name(name: str) -> str:
    """Return a name in one Unicode form; BadArchive when it would leave the archive, or is no path."""
    path = PurePosixPath(name)
    if not name or "\\" in name or any(unicodedata.category(letter) in ("Cc", "Cs") for letter in name):
        raise BadArchive(f"{name!r}: this name is not a path with forward slashes")
    if len(name) > LONGEST_NAME:
        raise BadArchive(f"{name[:60]}...: this name is longer than {LONGEST_NAME} characters")
    if path.is_absolute() or name[1:2] == ":":
        raise BadArchive(f"{name} is an absolute path: names must stay inside the archive")
    if ".." in path.parts:
        raise BadArchive(f"{name} leaves the archive's folder: names must stay inside the archive")
    return unicodedata.normalize("NFC", str(path))


def _ignored(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return any(part in IGNORED_FOLDERS or part.startswith(".") for part in parts)


def _add(names: dict[str, EntryT], name: str, entry: EntryT) -> None:
    if name in names:
        raise BadArchive(f"{name} is in the archive twice: leave one out")
    names[name] = entry


def _check_count(count: int, limits: Limits) -> None:
    if count > limits.max_entries:
        raise BadArchive(f"the archive has more than {limits.max_entries} entries")


def _check_total(total: int, limits: Limits) -> None:
    if total > limits.max_unpacked_bytes:
        raise _too_much(limits)


def _check_some(names: dict[str, EntryT]) -> None:
    if not names:
        raise BadArchive(f"the archive holds no files: {WANTED}")


def _is_bomb(unpacked: int, packed: int, limits: Limits) -> bool:
    return unpacked > RATIO_MATTERS_FROM and unpacked > limits.max_unpack_ratio * packed


def _bomb(name: str, limits: Limits) -> BadArchive:
    ratio = f"{limits.max_unpack_ratio:g}"
    return BadArchive(f"{name} unpacks to more than {ratio} times its packed size, as a zip bomb does")


def _too_much(limits: Limits) -> BadArchive:
    return BadArchive(f"the archive unpacks to more than {size_in_words(limits.max_unpacked_bytes)}")
