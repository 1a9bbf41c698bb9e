"""Single members of archives: which are plain files, and how a tar's headers and contents are read."""

import io
import re
import stat
import tarfile
import zipfile
from typing import Any, BinaryIO

from core.ingest.limits import BadArchive, size_in_words

BLOCK = 512
PLAIN_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
LARGEST_HEADER = 64 << 10
DIGITS = re.compile(rb"\d{200}")
"""No header has such numbers; looking for its character set, tarfile took quadratic time over them (2024)."""


class Headers:
    """A tar's stream as tarfile sees it: headers alone are read of it, and none is large.

    A header that extends another (a long name, pax records) is read whole, and tells its own size: without
    a limit a sparse gigabyte would become a gigabyte of memory.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def read(self, size: int = -1) -> bytes:
        """Read so many bytes; BadArchive when that is more than any header has."""
        if not 0 <= size <= LARGEST_HEADER:
            raise BadArchive(f"the tar has a header larger than {size_in_words(LARGEST_HEADER)}")
        data = self._stream.read(size)
        if size > BLOCK and DIGITS.search(data):
            raise BadArchive("the tar has a header that no program writes")
        return data

    def seek(self, position: int) -> int:
        """Go to a position; ValueError for none."""
        return self._stream.seek(position)

    def tell(self) -> int:
        """Return the position."""
        return self._stream.tell()


class Span(io.RawIOBase):
    """A part of a file that others read too; closing it closes nothing else."""

    def __init__(self, stream: BinaryIO, *, start: int, length: int) -> None:
        super().__init__()
        self._stream, self._at, self._end = stream, start, start + length

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer as far as the span and the file go."""
        self._stream.seek(self._at)
        piece = self._stream.read(min(len(buffer), self._end - self._at))
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)


def check_zip_entry(entry: zipfile.ZipInfo) -> None:
    """Raise BadArchive for what is encrypted, packed in a rare way, or no plain file or folder."""
    name = entry.orig_filename
    if entry.flag_bits & 0x1:
        raise BadArchive(f"{name} is encrypted: make the zip without a password")
    if entry.compress_type not in PLAIN_METHODS:
        raise BadArchive(f"{name} is packed by a method other than store and deflate: make the zip anew")
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        what = "link" if kind == stat.S_IFLNK else "device"
        raise BadArchive(f"{name} is a {what}: only plain files are taken")


def check_tar_member(member: tarfile.TarInfo) -> None:
    """Raise BadArchive for what is no plain file or folder."""
    if member.size < 0:
        raise BadArchive(f"{member.name} has a negative size")  # old tarfile would turn back for ever
    if member.issym() or member.islnk():
        raise BadArchive(f"{member.name} is a link: only plain files are taken")
    if not (member.isreg() or member.isdir()) or member.issparse():
        kind = "sparse file" if member.issparse() else "device"
        raise BadArchive(f"{member.name} is a {kind}: only plain files are taken")
