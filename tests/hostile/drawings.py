"""Hostile pictures, each alone in a sound zip."""

import io
import struct
import zlib
from functools import cache

from PIL import Image

from tests.core.archives import picture
from tests.hostile.packing import Hostile, alone, chunk, png_with, zipped

LEFT_OUT = "no row can be used; 1 left out, the first: a.png: "
NO_PICTURE = f"{LEFT_OUT}not a PNG, JPEG or WebP picture"


def saved(kind: str, mode: str = "RGB", size: tuple[int, int] = (8, 6), **more: object) -> bytes:
    sink = io.BytesIO()
    Image.new(mode, size).save(sink, kind, **more)
    return sink.getvalue()


@cache
def noisy() -> bytes:
    sink = io.BytesIO()
    Image.effect_noise((90, 90), 90).save(sink, "PNG")
    return sink.getvalue()


def lying_dimensions() -> bytes:
    """Return a PNG that says it has 3.6 gigapixels."""
    data = bytearray(picture())
    data[16:24] = (60_000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)


def taller_than_its_data() -> bytes:
    data = bytearray(picture())
    data[20:24] = (1000).to_bytes(4, "big")
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)


def decompression_bomb() -> bytes:
    """Return a small PNG with 20 MB of zeros in a text chunk."""
    packer = zlib.compressobj(9)
    text = b"".join(packer.compress(bytes(1 << 20)) for _ in range(20)) + packer.flush()
    return png_with(chunk(b"zTXt", b"Comment\0\0" + text), chunk(b"IDAT", zlib.compress(bytes(150))))


def profile_bomb() -> bytes:
    packer = zlib.compressobj(9)
    profile = b"".join(packer.compress(bytes(1 << 20)) for _ in range(20)) + packer.flush()
    return png_with(chunk(b"iCCP", b"p\0\0" + profile), chunk(b"IDAT", zlib.compress(bytes(150))))


def lying_jpeg() -> bytes:
    """Return a JPEG whose frame says 65,500 x 65,500."""
    data = bytearray(picture(kind="JPEG"))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", 65_500, 65_500)
    return bytes(data)


def jpeg_of_scans() -> bytes:
    """Return a progressive JPEG whose last scan stands there two thousand times."""
    data = saved("JPEG", size=(64, 64), progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * 2000 + data[-2:]


def lying_webp() -> bytes:
    data = bytearray(saved("WEBP", lossless=True))
    at = data.index(b"VP8L") + 9
    data[at : at + 4] = b"\xff\xff\xff\x0f"
    return bytes(data)


def moving(kind: str) -> bytes:
    sink = io.BytesIO()
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "blue")]
    frames[0].save(sink, kind, save_all=True, append_images=frames[1:])
    return sink.getvalue()


def broken_exif() -> bytes:
    return picture(kind="JPEG").replace(
        b"\xff\xe0", b"\xff\xe1\x00\x10Exif\0\0MM\0*\xff\xff\xff\xf0\xff\xe0", 1
    )


def endless_icons() -> bytes:
    return b"\0\0\1\0\xff\xff" + bytes(2000)


SVG = b"""<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>"""
LAUGHS = b"""<!DOCTYPE l [<!ENTITY a "ha">""" + b"".join(
    b'<!ENTITY %c "&%c;&%c;">' % (98 + n, 97 + n, 97 + n) for n in range(20)
)
MANY_PIXELS = "more than 10000 pixels"
SAVE_ANEW = "and could be opened as a document: save it anew"

PICTURES = [
    Hostile(f"picture: {name}", lambda make=make, suffix=suffix: alone(make(), suffix=suffix), says)
    for name, make, suffix, says in [
        ("no picture", lambda: b"junk", "png", NO_PICTURE),
        ("signature alone", lambda: b"\x89PNG\r\n\x1a\n" + bytes(64), "png", NO_PICTURE),
        ("cut PNG", lambda: noisy()[:-2000], "png", f"{LEFT_OUT}the picture is damaged: "),
        ("cut JPEG", lambda: picture(kind="JPEG")[:-200], "jpg", "a.jpg: the picture is damaged: "),
        ("cut WebP", lambda: saved("WEBP")[:-20], "webp", "a.webp: "),
        ("lying PNG", lying_dimensions, "png", f"{LEFT_OUT}{MANY_PIXELS}"),
        ("taller than its data", taller_than_its_data, "png", f"{LEFT_OUT}the picture is damaged: "),
        ("lying JPEG", lying_jpeg, "jpg", f"a.jpg: {MANY_PIXELS}"),
        ("lying WebP", lying_webp, "webp", "a.webp: "),
        ("many pixels", lambda: saved("PNG", size=(101, 100)), "png", f"101 x 100: {MANY_PIXELS}"),
        ("one line", lambda: saved("PNG", "1", size=(1_000_000, 1)), "png", f"1000000 x 1: {MANY_PIXELS}"),
        ("heavy", lambda: noisy() + bytes(1_000_000), "png", f"{LEFT_OUT}larger than 1.0 MB"),
        ("text bomb", decompression_bomb, "png", f"{LEFT_OUT}the picture is damaged: "),
        ("profile bomb", profile_bomb, "png", f"{LEFT_OUT}the picture is damaged: "),
        ("JPEG of scans", jpeg_of_scans, "jpg", "a JPEG of more than 100 scans, as a bomb has"),
        ("moving PNG", lambda: moving("PNG"), "png", "an animation: one still picture is expected"),
        ("moving WebP", lambda: moving("WEBP"), "webp", "an animation: one still picture is expected"),
        ("GIF", lambda: moving("GIF"), "png", NO_PICTURE),
        ("TIFF", lambda: saved("TIFF"), "png", NO_PICTURE),
        ("PostScript", lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n(/etc/passwd) run\n", "png", NO_PICTURE),
        ("icons", endless_icons, "png", NO_PICTURE),
        ("SVG", lambda: SVG, "svg", "a.svg: not a PNG, JPEG or WebP picture"),
        ("SVG as PNG", lambda: SVG, "png", NO_PICTURE),
        ("a billion laughs", lambda: LAUGHS, "svg", "a.svg: not a PNG, JPEG or WebP picture"),
        (
            "PNG and zip",
            lambda: picture() + zipped({"x": b"y"}),
            "png",
            "bytes follow the end of the picture",
        ),
        ("JPEG and zip", lambda: picture(kind="JPEG") + zipped({"x": b"y"}), "jpg", "is a zip at the same"),
        ("WebP and zip", lambda: saved("WEBP") + zipped({"x": b"y"}), "webp", "bytes follow the end of the"),
        ("PNG and script", lambda: picture() + b"<script>", "png", f"holds '<script' {SAVE_ANEW}"),
        (
            "PDF in a comment",
            lambda: picture(kind="JPEG").replace(b"\xff\xdb", b"\xff\xfe\x00\x0a%PDF-1.7\xff\xdb", 1),
            "jpg",
            f"holds '%pdf-1.7' {SAVE_ANEW}",
        ),
        (
            "PHP in a comment",
            lambda: png_with(chunk(b"tEXt", b"Comment\0<?php system($_GET[0]); ?>")),
            "png",
            f"holds '<?php' {SAVE_ANEW}",
        ),
    ]
]
