"""One picture: decoded to its last byte before anyone believes it, and made small for people."""

import base64
import io
import struct
import warnings
import zlib
from dataclasses import dataclass

from PIL import Image, ImageOps, UnidentifiedImageError

from core.ingest.limits import BadRow, Limits

FORMATS = {"PNG": "png", "JPEG": "jpg", "WEBP": "webp"}
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp"})
OTHER_PICTURES = frozenset(
    {".svg", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".heic", ".heif", ".ico", ".psd"}
)
THUMBNAIL = 128
UNREADABLE = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    struct.error,
    zlib.error,
    OverflowError,
    IndexError,
    TypeError,
)


@dataclass(frozen=True)
class Picture:
    """What is known of a picture that can be read."""

    format: str
    """``png``, ``jpg`` or ``webp``, by its content."""
    width: int
    height: int
    thumbnail: str
    """A ``data:`` address."""


def look(data: bytes, limits: Limits) -> Picture:
    """Decode a picture completely; BadRow tells why it cannot be used."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        warnings.simplefilter("ignore", UserWarning)  # odd metadata in a sound picture
        try:
            with Image.open(io.BytesIO(data), formats=tuple(FORMATS)) as opened:
                if opened.width * opened.height > limits.max_picture_pixels:
                    size = f"{opened.width} x {opened.height}"
                    raise BadRow(f"{size}: more than {limits.max_picture_pixels} pixels")
                if getattr(opened, "n_frames", 1) > 1:
                    raise BadRow("an animation: one still picture is expected")
                opened.load()
                kind = FORMATS[str(opened.format)]
                upright = ImageOps.exif_transpose(opened).convert("RGBA")
            return Picture(kind, upright.width, upright.height, _thumbnail(upright))
        except BadRow:
            raise
        except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
            raise BadRow(f"more than {limits.max_picture_pixels} pixels") from error
        except UnidentifiedImageError as error:
            raise BadRow("not a PNG, JPEG or WebP picture") from error
        except UNREADABLE as error:
            raise BadRow(f"the picture is damaged: {error}") from error


def _thumbnail(picture: Image.Image) -> str:
    small = picture.copy()
    small.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    white = Image.alpha_composite(Image.new("RGBA", small.size, "white"), small).convert("RGB")
    sink = io.BytesIO()
    white.save(sink, "WEBP", quality=80)
    return "data:image/webp;base64," + base64.b64encode(sink.getvalue()).decode()
