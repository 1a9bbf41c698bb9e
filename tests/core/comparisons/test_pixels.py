"""What is left of a PNG that must not tell where it comes from, and when two show the same."""

import io

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from core.comparisons.pixels import bare, digest


def picture(*, level: int = 6, colour: tuple[int, int, int] = (1, 2, 3), **info: str) -> bytes:
    more = PngInfo()
    for name, text in info.items():
        more.add_text(name, text)
        more.add_itxt(f"{name}-i", text)
    more.add(b"caBX", b"a manifest of ft:starter")
    sink = io.BytesIO()
    Image.new("RGB", (9, 5), colour).save(
        sink, "PNG", pnginfo=more, compress_level=level, dpi=(72, 72), icc_profile=b"icc of ft:starter"
    )
    return sink.getvalue()


def test_nothing_but_the_picture_is_left() -> None:
    told = picture(model="ft:starter", seed="7") + b"behind the end: ft:starter"
    left = bare(told)
    assert b"ft:starter" in told
    assert b"ft:starter" not in left
    with Image.open(io.BytesIO(left)) as shown:
        assert (shown.info, shown.size, shown.getpixel((0, 0))) == ({}, (9, 5), (1, 2, 3))
    assert bare(left) == left


def test_the_same_pixels_are_the_same_however_they_are_packed() -> None:
    assert picture(level=0) != picture(level=9, model="x")
    assert digest(picture(level=0)) == digest(picture(level=9, model="x"))
    assert digest(picture(colour=(1, 2, 4))) != digest(picture())


@pytest.mark.parametrize(
    "data",
    [b"", b"GIF89a", picture()[:-20], picture()[:40], picture().replace(b"a manifest", b"b manifest")],
    ids=["empty", "no PNG", "without an end", "cut off", "damaged"],
)
def test_what_is_no_whole_png_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="PNG"):
        bare(data)
    with pytest.raises(ValueError, match="not a picture"):
        digest(b"not a picture")
