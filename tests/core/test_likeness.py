"""Fingerprints: copies are found whatever was done to their bytes, other pictures are not taken for them."""

import io
import random
from itertools import combinations

import pytest
from PIL import Image, ImageDraw, ImageEnhance

from core.ingest.likeness import (
    MOST_BITS,
    MOST_NEIGHBOURS,
    RECORD,
    Fingerprint,
    Likeness,
    Seen,
    fingerprints,
    likeness,
    overlap,
)

GREY = (128, 128, 128)


def scene(seed: int) -> Image.Image:
    """Return a picture with some forms in it."""
    drawn = random.Random(seed)
    image = Image.new("RGB", (128, 128), tuple(drawn.randrange(256) for _ in range(3)))
    pen = ImageDraw.Draw(image)
    for _ in range(12):
        left, top = drawn.randrange(110), drawn.randrange(110)
        box = (left, top, left + drawn.randrange(10, 70), top + drawn.randrange(10, 70))
        pen.ellipse(box, fill=tuple(drawn.randrange(256) for _ in range(3)))
    return image


def compressed(image: Image.Image) -> Image.Image:
    sink = io.BytesIO()
    image.save(sink, "JPEG", quality=60)
    return Image.open(io.BytesIO(sink.getvalue())).convert("RGB")


COPIES = {
    "compressed": compressed,
    "smaller": lambda image: image.resize((64, 64)).resize((128, 128)),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.04),
}


def alike(one: Likeness, other: Likeness) -> bool:
    seen = Seen()
    seen.add(Fingerprint(b"12345678", one))
    return seen.alike(other) == 0


@pytest.mark.parametrize("name", COPIES)
def test_copies_look_alike(name: str) -> None:
    found = [alike(likeness(scene(seed)), likeness(COPIES[name](scene(seed)))) for seed in range(20)]
    assert sum(found) >= 19


def test_others_do_not() -> None:
    known = [likeness(scene(seed)) for seed in range(40)]
    assert [pair for pair in combinations(known, 2) if alike(*pair)] == []


def test_plain_pictures_are_told_apart_by_their_colour() -> None:
    red, pink, blue = (likeness(Image.new("RGB", (8, 8), color)) for color in ("red", "#f01010", "blue"))
    assert red.bits == blue.bits == 0
    assert alike(red, pink)
    assert not alike(red, blue)


@pytest.mark.parametrize(("flipped", "found"), [((0, 20, 40), True), ((0, 20, 40, 63), False)])
def test_up_to_three_bits_may_differ_wherever_they_are(flipped: tuple[int, ...], *, found: bool) -> None:
    bits = 0x0123456789ABCDEF
    other = bits
    for place in flipped:
        other ^= 1 << place
    assert (len(flipped) <= MOST_BITS) is found
    assert alike(Likeness(bits, GREY), Likeness(other, GREY)) is found


def test_only_so_many_of_a_band_are_compared() -> None:
    seen = Seen()
    for number in range(3 * MOST_NEIGHBOURS):
        seen.add(Fingerprint(number.to_bytes(8, "big"), Likeness(0, GREY)))
    assert seen.alike(Likeness(0, GREY)) == 3 * MOST_NEIGHBOURS - 1
    assert {len(band) for band in seen._bands.values()} == {MOST_NEIGHBOURS}


def test_rows_are_counted_also_when_they_repeat() -> None:
    one, other = (
        Fingerprint(content, Likeness(bits, GREY))
        for content, bits in ((b"a" * 8, 0), (b"b" * 8, ~0 & 2**64 - 1))
    )
    seen = Seen()
    for each in (one, one, other):
        seen.add(each)
    assert (seen.same(one), seen.same(other), seen.alike(other.likeness)) == (0, 2, 2)


def test_what_is_packed_is_read_again() -> None:
    known = [
        Fingerprint(bytes([number] * 8), Likeness(2**64 - 1 - number, (1, 2, 255))) for number in range(3)
    ]
    packed = b"".join(one.packed() for one in known)
    assert len(packed) == 3 * RECORD.size == 72
    assert list(fingerprints(packed)) == known
    with pytest.raises(ValueError, match="cut off"):
        list(fingerprints(packed[:-1]))


def test_overlap_tells_identical_and_alike_apart() -> None:
    a, b, c, d = (Fingerprint(bytes([n] * 8), likeness(scene(n))) for n in range(4))
    like_c = Fingerprint(b"x" * 8, likeness(compressed(scene(2))))
    found = overlap([a, like_c, d], [b, c, a])
    assert (found.rows, found.identical, found.alike) == (3, 1, 1)
    assert found.examples == [
        {"row": 0, "other": 2, "identical": True},
        {"row": 1, "other": 1, "identical": False},
    ]
