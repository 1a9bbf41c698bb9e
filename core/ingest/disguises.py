"""Files that are a picture to one program and something else to another, or less than they say."""

import io
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator

from core.ingest.limits import BadRow

PNG_SIGNATURE = 8
PNG_CHUNK = 12
HEADER = struct.Struct(">IIBBBBB")
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Numbers of a pixel, by a PNG's kind of colour."""
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""Of Adam7: the first column and row, and the steps, of each part of an interlaced PNG."""
SLICE = 1 << 18
PADDING = b"\0\r\n "
# Long enough that the bytes of no photograph form one by chance: four letters would, in one of 500.
ACTIVE = re.compile(rb"<script|<\?php|<html|<svg[\s/>]|%PDF-[0-9]\.[0-9]", re.IGNORECASE)
MOST_SCANS = 100
SCAN = b"\xff\xda"
"""Begins a scan of a JPEG. Inside one, a byte 0xff is followed by a zero."""


def check_alone(data: bytes, kind: str) -> None:
    """Refuse a picture that could also be opened as another kind of file, or costs hours to decode.

    Behind the end of a JPEG phones keep films and further pictures, so that data there is refused only when
    it is an archive.

    Raises:
        BadRow: it is such a file.
    """
    if found := ACTIVE.search(data):
        what = found[0].decode().lower()
        raise BadRow(f"the picture holds {what!r} and could be opened as a document: save it anew")
    if kind == "jpg":
        if data.count(SCAN) > MOST_SCANS:
            raise BadRow(f"a JPEG of more than {MOST_SCANS} scans, as a bomb has")
        if zipfile.is_zipfile(io.BytesIO(data)):
            raise BadRow("the picture is a zip at the same time: save it anew")
        return
    end = _checked_png(data) if kind == "png" else _end_of_webp(data)
    if data[end:].strip(PADDING):
        raise BadRow(f"{len(data) - end} bytes follow the end of the picture: save it anew")


def _checked_png(data: bytes) -> int:
    """Return where a PNG ends; BadRow when it has fewer rows than it says, which its decoder leaves black."""
    expected, end, unpacked = 0, len(data), 0
    inflater = zlib.decompressobj()
    for kind, start, stop in _chunks(data):
        if kind == b"IHDR" and stop - start == HEADER.size:
            expected = _bytes_of(*HEADER.unpack(data[start:stop]))
        elif kind == b"IDAT":
            for at in range(start, stop, SLICE):
                unpacked += _inflated(inflater, data[at : min(at + SLICE, stop)], expected - unpacked)
        elif kind == b"IEND":
            end = stop + 4
            break
    if unpacked < expected:
        unpacked += len(inflater.flush())  # the last bytes may wait for room that nobody asked for again
    if unpacked < expected:
        raise BadRow(f"the picture is damaged: {expected - unpacked} bytes of its pixels are missing")
    return end


def _inflated(inflater: "zlib._Decompress", piece: bytes, wanted: int) -> int:
    """Return how many bytes a piece unpacks to, as far as they are wanted; none of them is kept."""
    unpacked = 0
    while piece and unpacked < wanted:
        unpacked += len(inflater.decompress(piece, SLICE))
        piece = inflater.unconsumed_tail
    return unpacked


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the kind of each chunk of a PNG, and where its contents begin and end."""
    at = PNG_SIGNATURE
    while at + PNG_CHUNK <= len(data):
        size, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        yield kind, at + 8, at + 8 + size
        at += PNG_CHUNK + size


def _bytes_of(
    width: int, height: int, depth: int, colour: int, _method: int, _filter: int, laced: int
) -> int:
    """Return how many bytes the pixels of a PNG have, each row with its filter."""
    bits = depth * CHANNELS.get(colour, 1)
    parts = PASSES if laced else ((0, 0, 1, 1),)
    total = 0
    for left, top, across, down in parts:
        columns, rows = -(-max(0, width - left) // across), -(-max(0, height - top) // down)
        total += (1 + (columns * bits + 7) // 8) * rows if columns else 0
    return total


def _end_of_webp(data: bytes) -> int:
    return 8 + int.from_bytes(data[4:8], "little")
