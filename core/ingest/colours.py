"""Colours as people expect them: 8 bits a channel, sRGB."""

import io

from PIL import Image, ImageCms

PLAIN_MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA"})
DEEP_MODES = frozenset({"I", "I;16", "I;16L", "I;16B", "I;16N"})
TO_8_BITS = [value >> 8 for value in range(1 << 16)]
SPACES = {"GRAY": "L", "RGB": "RGB", "CMYK": "CMYK"}
"""The mode that a profile's space describes."""
SRGB = ImageCms.createProfile("sRGB")


def ordinary(picture: Image.Image) -> tuple[Image.Image, str | None]:
    """Return a decoded picture as 8-bit sRGB, and why it had to be changed; None: it is as it was.

    Raises:
        ValueError: its mode is none that these formats have.
    """
    if picture.mode in DEEP_MODES:
        # Converting would cut off at 255 instead, and leave a white picture.
        shallow = picture.convert("I").point(TO_8_BITS, "L")
        shallow.info = picture.info
        return shallow, "16 bits a channel"
    if picture.mode not in PLAIN_MODES and picture.mode != "CMYK":
        raise ValueError(f"its mode is {picture.mode}")
    profiled = _to_srgb(picture)
    if profiled is not None:
        return profiled, "another colour profile"
    if picture.mode == "CMYK":
        return picture.convert("RGB"), "CMYK"
    return picture, None


def _to_srgb(picture: Image.Image) -> Image.Image | None:
    """Return a picture whose profile is another than sRGB in sRGB; None when there is nothing to do.

    A profile that cannot be read, or is of another kind of picture, is ignored, as browsers do.
    """
    data = picture.info.get("icc_profile")
    if not data:
        return None
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(data))
        mode = SPACES.get(profile.profile.xcolor_space.strip())
        if mode is None or "sRGB" in ImageCms.getProfileDescription(profile):
            return None
        source, alpha = _without_alpha(picture)
        if source.mode != mode:
            return None
        found = ImageCms.profileToProfile(source, profile, SRGB, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        return None
    assert found is not None, "it was not to be changed in place"
    if alpha is not None:
        found.putalpha(alpha)
    found.info = {name: value for name, value in picture.info.items() if name == "exif"}
    return found


def _without_alpha(picture: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Return a picture in a mode that a profile may describe, and its transparency apart."""
    if picture.mode == "CMYK":
        return picture, None
    grey = picture.mode in ("1", "L", "LA")
    if not picture.has_transparency_data:
        return picture.convert("L" if grey else "RGB"), None
    whole = picture.convert("RGBA")
    return whole.convert("L" if grey else "RGB"), whole.getchannel("A")
