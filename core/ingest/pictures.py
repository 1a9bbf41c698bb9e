"""One picture: decoded to its last byte before anyone believes it, and made small for people.

The bytes are kept as they came, if every reader sees the same in them: 8 bits, sRGB. Others (16 bits, CMYK,
another colour profile) are written anew as PNG. The EXIF orientation stays a mark, which the engine obeys.
"""

import base64
import io
import struct
import warnings
import zlib
from dataclasses import dataclass

from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from core.ingest.colours import ordinary
from core.ingest.disguises import check_alone
from core.ingest.likeness import Likeness, likeness
from core.ingest.limits import BadRow, Limits

FORMATS = {"PNG": "png", "JPEG": "jpg", "WEBP": "webp"}
SEVERAL = "MPO"
"""A JPEG that holds more pictures behind the first, as many phones write; the first is the picture."""
TURNED = 5
"""From this EXIF orientation on, height and width change places."""
THUMBNAIL = 128
UNREADABLE = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    struct.error,
    zlib.error,
    ArithmeticError,
    LookupError,
    TypeError,
    AttributeError,
    RecursionError,
)


@dataclass(frozen=True)
class Picture:
    """What is known of a picture that can be read."""

    data: bytes
    """Its file: the original, or written anew."""
    format: str
    """``png``, ``jpg`` or ``webp``, of ``data``."""
    width: int
    height: int
    thumbnail: str
    """A ``data:`` address."""
    likeness: Likeness
    rewritten: str | None
    """Why it was written anew; None: it was not."""


def look(data: bytes, limits: Limits) -> Picture:
    """Decode a picture completely; BadRow tells why it cannot be used."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        warnings.simplefilter("ignore", UserWarning)  # odd metadata in a sound picture
        try:
            with Image.open(io.BytesIO(data), formats=tuple(FORMATS)) as opened:
                return _seen(opened, data, limits)
        except BadRow:
            raise
        except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
            raise BadRow(f"more than {limits.max_picture_pixels} pixels") from error
        except UnidentifiedImageError as error:
            raise BadRow("not a PNG, JPEG or WebP picture") from error
        except UNREADABLE as error:
            raise BadRow(f"the picture is damaged: {error}") from error


def _seen(opened: Image.Image, data: bytes, limits: Limits) -> Picture:
    if opened.width * opened.height > limits.max_picture_pixels:
        raise BadRow(f"{opened.width} x {opened.height}: more than {limits.max_picture_pixels} pixels")
    kind = FORMATS["JPEG" if opened.format == SEVERAL else str(opened.format)]
    if opened.format != SEVERAL and getattr(opened, "n_frames", 1) > 1:
        raise BadRow("an animation: one still picture is expected")
    check_alone(data, kind)
    opened.load()
    width, height = opened.size
    if opened.getexif().get(ExifTags.Base.Orientation, 1) >= TURNED:
        width, height = height, width
    plain, rewritten = ordinary(opened)
    small = ImageOps.exif_transpose(_smaller(plain))
    if rewritten is not None:
        data, kind = _written(ImageOps.exif_transpose(plain)), "png"
    return Picture(data, kind, width, height, _thumbnail(small), likeness(small), rewritten)


def _smaller(picture: Image.Image) -> Image.Image:
    """Return a picture of at most a thumbnail's size, on white, that still has its EXIF orientation."""
    scale = min(1.0, THUMBNAIL / max(picture.size))
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    if picture.mode not in ("RGB", "L") or picture.has_transparency_data:
        picture = picture.convert("RGBA")
    small = picture.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    if small.mode != "RGBA":
        return small.convert("RGB")
    white = Image.new("RGBA", size, "white")
    seen = Image.alpha_composite(white, small).convert("RGB")
    seen.info = small.info
    return seen


def _thumbnail(small: Image.Image) -> str:
    sink = io.BytesIO()
    small.save(sink, "WEBP", quality=80, method=0, exif=b"", icc_profile=b"")
    return "data:image/webp;base64," + base64.b64encode(sink.getvalue()).decode()


def _written(picture: Image.Image) -> bytes:
    sink = io.BytesIO()
    picture.info = {}
    picture.save(sink, "PNG")
    return sink.getvalue()
