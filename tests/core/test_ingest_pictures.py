"""Pictures as people expect them: upright, 8 bits, sRGB, the same for the engine as in the thumbnail."""

import base64
import io
import zlib
from dataclasses import replace
from functools import partial

import pytest
from PIL import Image, ImageCms

from core.ingest.limits import BadRow
from core.ingest.pictures import Picture, look
from spin_engine.data import Row
from tests.core.archives import LIMITS, picture
from tests.hostile.packing import chunk, png_with

RED = (255, 0, 0)


def saved(image: Image.Image, kind: str = "PNG", **more: object) -> bytes:
    sink = io.BytesIO()
    image.save(sink, kind, **more)
    return sink.getvalue()


def looked(data: bytes) -> Picture:
    return look(data, LIMITS)


def seen(found: Picture) -> Image.Image:
    """Return the picture as the engine decodes what is kept."""
    return Row("a", "red", partial(bytes, found.data)).picture()


def pixel(image: Image.Image, at: tuple[int, int] = (0, 0)) -> tuple[int, ...]:
    value = image.getpixel(at)
    assert isinstance(value, tuple)
    return value


def near(one: tuple[int, ...], other: tuple[int, ...], *, levels: int) -> bool:
    return all(abs(mine - its) <= levels for mine, its in zip(one, other, strict=True))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_an_ordinary_picture_keeps_its_bytes(kind: str) -> None:
    data = picture(kind=kind)
    found = looked(data)
    assert found.data == data
    assert (found.width, found.height, found.rewritten) == (8, 6, None)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_ordinary_modes_keep_their_bytes(mode: str) -> None:
    data = saved(Image.new("RGBA", (4, 4), "white").convert(mode))
    found = looked(data)
    assert (found.data, found.rewritten) == (data, None)
    assert pixel(seen(found)) == (255, 255, 255)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_turns_size_thumbnail_and_training_alike(orientation: int) -> None:
    image = Image.new("RGB", (40, 20), "blue")
    image.paste(RED, (0, 0, 20, 10))
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = looked(saved(image, exif=exif))
    trained = seen(found)
    assert (found.width, found.height) == trained.size == ((40, 20) if orientation < 5 else (20, 40))
    shown = Image.open(io.BytesIO(decoded(found.thumbnail))).convert("RGB")
    corners = [(2, 2), (trained.width - 3, 2), (2, trained.height - 3)]
    assert all(near(pixel(shown, at), pixel(trained, at), levels=40) for at in corners)


def decoded(address: str) -> bytes:
    with Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))) as opened:
        return saved(opened.convert("RGB"))


def test_transparency_is_white() -> None:
    for data in (
        saved(Image.new("RGBA", (4, 4), (9, 9, 9, 0))),
        saved(Image.new("P", (4, 4), 0), transparency=0),
        saved(Image.new("RGB", (4, 4), (1, 2, 3)), transparency=(1, 2, 3)),
    ):
        found = looked(data)
        assert pixel(seen(found)) == (255, 255, 255)
        assert near(pixel(Image.open(io.BytesIO(decoded(found.thumbnail)))), (255, 255, 255), levels=3)


def test_16_bits_become_8() -> None:
    """Converted as they are they would be white: every level above 255 of 65,535 is cut off."""
    found = looked(saved(Image.new("I;16", (4, 4), 40_000)))
    assert (found.format, found.rewritten) == ("png", "16 bits a channel")
    assert pixel(seen(found)) == (156, 156, 156)


def test_cmyk_becomes_rgb() -> None:
    found = looked(saved(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=95))
    assert (found.format, found.rewritten) == ("png", "CMYK")
    assert near(pixel(seen(found)), RED, levels=8)


def test_another_profile_becomes_srgb() -> None:
    """A profile whose red and blue are exchanged shows that it is obeyed; the same picture without stays."""
    profile = swapped_profile()
    found = looked(saved(Image.new("RGB", (8, 8), "red"), icc_profile=profile))
    assert (found.format, found.rewritten) == ("png", "another colour profile")
    assert not near(pixel(seen(found)), RED, levels=40)
    clear = looked(saved(Image.new("RGBA", (8, 8), (255, 0, 0, 0)), icc_profile=profile))
    assert clear.rewritten == "another colour profile"
    assert pixel(seen(clear)) == (255, 255, 255)


def swapped_profile() -> bytes:
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    data = bytearray(bytes(data).replace("sRGB".encode("utf-16-be"), "none".encode("utf-16-be")))
    red, blue = data.index(b"rXYZ"), data.index(b"bXYZ")
    data[red : red + 4], data[blue : blue + 4] = b"bXYZ", b"rXYZ"
    return bytes(data)


@pytest.mark.parametrize(
    "profile", [b"junk", ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()]
)
def test_a_broken_profile_and_srgb_itself_change_nothing(profile: bytes) -> None:
    data = saved(Image.new("RGB", (8, 8), "red"), icc_profile=profile)
    found = looked(data)
    assert (found.data, found.rewritten) == (data, None)


def test_a_rewritten_picture_is_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    found = looked(saved(Image.new("I;16", (4, 2), 40_000), exif=exif))
    assert (found.width, found.height) == seen(found).size == (2, 4)


def test_the_first_picture_of_a_phones_jpeg_counts() -> None:
    first = Image.new("RGB", (8, 6), "red")
    data = saved(first, "MPO", save_all=True, append_images=[Image.new("RGB", (4, 3), "blue")])
    with Image.open(io.BytesIO(data)) as opened:
        assert opened.format == "MPO"
    found = looked(data)
    assert (found.format, found.width, found.height, found.data) == ("jpg", 8, 6, data)
    assert near(pixel(seen(found)), RED, levels=8)


def test_a_film_behind_a_jpeg_is_no_disguise() -> None:
    data = picture(kind="JPEG") + b"\0\0\0\x18ftypmp42" + bytes(500)
    assert looked(data).data == data


def test_padding_behind_a_png_is_none_either() -> None:
    data = picture() + b"\0\0\n"
    assert looked(data).data == data


def test_an_animation_is_refused() -> None:
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "blue")]
    with pytest.raises(BadRow, match=r"^an animation: one still picture is expected$"):
        looked(saved(frames[0], "WEBP", save_all=True, append_images=frames[1:]))


@pytest.mark.parametrize(
    ("mode", "size"), [("RGB", (700, 400)), ("RGBA", (256, 256)), ("1", (3001, 9)), ("P", (5, 3))]
)
def test_whole_pngs_of_any_size_and_depth_are_whole(mode: str, size: tuple[int, int]) -> None:
    """The rows that a PNG says it has are counted, whatever pieces they are unpacked in."""
    for image in (Image.new(mode, size), Image.effect_noise(size, 90).convert(mode)):
        data = saved(image)
        assert look(data, replace(LIMITS, max_picture_pixels=10**6)).data == data


@pytest.mark.parametrize(("missing", "whole"), [(0, True), (1, False)])
def test_interlaced_pngs_are_counted_pass_by_pass(missing: int, *, whole: bool) -> None:
    rows = 4 + 4 + 7 + 14 + 13 + 39 + 75  # of an 8 x 6 picture: seven passes, each row with its filter
    data = png_with(chunk(b"IDAT", zlib.compress(bytes(rows - missing))), laced=1)
    if whole:
        assert (looked(data).width, looked(data).data) == (8, data)
    else:
        with pytest.raises(BadRow, match="the picture is damaged: 1 bytes of its pixels are missing"):
            looked(data)
