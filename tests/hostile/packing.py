"""Archives in memory, sound and otherwise; the bytes that a hostile input begins with."""

import gzip
import io
import json
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache

from core.ingest.limits import Limits
from tests.core.archives import picture

LIMITS = Limits(
    max_unpacked_bytes=20_000_000,
    max_unpack_ratio=100.0,
    max_entries=50,
    max_picture_bytes=1_000_000,
    max_picture_pixels=10_000,
    max_caption_characters=40,
)
GOOD = {"a.png": picture(), "a.txt": b"a red one"}
DIRECTORY = b"PK\x01\x02"


@dataclass(frozen=True)
class Hostile:
    """One input, and what is said to who uploads it."""

    name: str
    make: Callable[[], bytes]
    says: str


@cache
def made(hostile: Hostile) -> bytes:
    """Return the bytes of an input, which are made once."""
    return hostile.make()


def zipped(files: dict[str, bytes], *, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return a zip."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return sink.getvalue()


def zipped_with(name: str, data: bytes = b"target", *, mode: int = 0) -> bytes:
    """Return a zip of good files and one entry more, of a Unix mode."""
    sink = io.BytesIO(zipped(GOOD))
    entry = zipfile.ZipInfo(name)
    if mode:
        entry.create_system, entry.external_attr = 3, mode << 16
    with zipfile.ZipFile(sink, "a") as archive:
        archive.writestr(entry, data)
    return sink.getvalue()


def patched(data: bytes, *patches: tuple[int, bytes]) -> bytes:
    """Return bytes with others at some places."""
    changed = bytearray(data)
    for at, new in patches:
        changed[at : at + len(new)] = new
    return bytes(changed)


def in_directory(data: bytes, offset: int, new: bytes) -> bytes:
    """Return a zip whose first entry of the central directory has other bytes at an offset."""
    return patched(data, (data.index(DIRECTORY) + offset, new))


def tarred(files: dict[str, bytes] | Iterable[tarfile.TarInfo], *, packed: bool = False) -> bytes:
    """Return a tar of good files and these, or a tar.gz."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, data in (files if isinstance(files, dict) else GOOD).items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
        for entry in () if isinstance(files, dict) else files:
            archive.addfile(entry, io.BytesIO(bytes(max(0, entry.size))))
    return gzip.compress(sink.getvalue()) if packed else sink.getvalue()


def entry(name: str = "x.png", kind: bytes = tarfile.REGTYPE, size: int = 0) -> tarfile.TarInfo:
    """Return the header of a tar's entry."""
    made = tarfile.TarInfo(name)
    made.type, made.size, made.linkname = kind, size, "/etc/passwd"
    return made


def raw_header(name: bytes, kind: bytes, size: bytes) -> bytes:
    """Return a header that tarfile would not write, with its sum."""
    header = bytearray(512)
    header[: len(name)] = name
    header[100:108] = b"0000644\0"
    header[124 : 124 + len(size)] = size
    header[136:148] = b"00000000000\0"
    header[156:157] = kind
    header[257:265] = b"ustar  \0"
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def octal(size: int) -> bytes:
    """Return a size as a header has it."""
    return b"%011o\0" % size


def alone(data: bytes, caption: bytes = b"a red one", *, suffix: str = "png") -> bytes:
    """Return a zip of one captioned picture."""
    return zipped({f"a.{suffix}": data, "a.txt": caption}, method=zipfile.ZIP_STORED)


def table(*lines: bytes, name: str = "metadata.jsonl") -> bytes:
    """Return a zip of one picture and the lines of a table."""
    return zipped({name: b"\n".join(lines), "a.png": picture()})


def line(file_name: object, text: object) -> bytes:
    """Return a line of metadata.jsonl."""
    return json.dumps({"file_name": file_name, "text": text}).encode()


def chunk(kind: bytes, data: bytes) -> bytes:
    """Return a chunk of a PNG with its sum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_with(*chunks: bytes, width: int = 8, height: int = 6, laced: int = 0) -> bytes:
    """Return a PNG of these chunks behind its header."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, laced)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(chunks) + chunk(b"IEND", b"")
