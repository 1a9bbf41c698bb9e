"""What a PNG shows, apart from what else is written in it."""

import hashlib
import io
import struct
import zlib

from PIL import Image

SIGNATURE = b"\x89PNG\r\n\x1a\n"
SHOWN = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
HEAD = struct.Struct(">I4s")
CHECK_BYTES = 4


def bare(png: bytes) -> bytes:
    """Return a PNG with what is needed to show it and nothing else: no text, no manifest, no time.

    Raises:
        ValueError: it is no PNG, cut off or damaged.
    """
    if not png.startswith(SIGNATURE):
        raise ValueError("not a PNG")
    kept, at = [SIGNATURE], len(SIGNATURE)
    while at < len(png):
        if at + HEAD.size > len(png):
            raise ValueError("the PNG is cut off")
        size, kind = HEAD.unpack_from(png, at)
        end = at + HEAD.size + size + CHECK_BYTES
        if end > len(png):
            raise ValueError("the PNG is cut off")
        if zlib.crc32(png[at + 4 : end - CHECK_BYTES]) != int.from_bytes(png[end - CHECK_BYTES : end], "big"):
            raise ValueError("the PNG is damaged")
        if kind in SHOWN:
            kept.append(png[at:end])
        if kind == b"IEND":
            return b"".join(kept)  # whatever hides behind it is left out as well
        at = end
    raise ValueError("the PNG has no end")


def digest(png: bytes) -> str:
    """Return a sha256 of the size and the pixels of a picture, however they are packed.

    Raises:
        ValueError: it is no picture that can be read.
    """
    try:
        with Image.open(io.BytesIO(png)) as picture:
            shown = picture.convert("RGBA")
    except OSError as error:
        raise ValueError(f"not a picture: {error}") from error
    told = hashlib.sha256(f"{shown.width}x{shown.height}\n".encode())
    told.update(shown.tobytes())
    return told.hexdigest()
