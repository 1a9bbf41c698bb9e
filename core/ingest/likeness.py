"""Pictures that look alike: a fingerprint of each, found again among millions in bounded time and memory.

The fingerprint is a difference hash (64 bits: is a cell of a 9 x 8 grid darker than its right neighbour?)
with the mean colour. A copy that was scaled, compressed or slightly toned differs in few bits; a crop or a
mirror image does not look alike. Two hashes that differ in at most three bits agree in one of four 16-bit
bands at least, so that only those of one band need be compared.
"""

import hashlib
import struct
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from PIL import Image, ImageStat

RECORD = struct.Struct("<8sQ3B5x")
"""Of one row: the head of its picture's sha256, its hash, its mean colour."""
GRID = (9, 8)
DARKER_BY = 2
"""Levels: below it, neighbours count as equal, so that noise in an even sky does not decide."""
MOST_BITS = 3
MOST_COLOUR = 20
BANDS = 4
BAND_BITS = 16
MOST_NEIGHBOURS = 64
"""How many of one band are compared with each picture: a million alike would otherwise take for ever."""
EXAMPLES = 20


@dataclass(frozen=True)
class Likeness:
    """What tells whether two pictures look alike: at most ``MOST_BITS`` apart, ``MOST_COLOUR`` a channel."""

    bits: int
    colour: tuple[int, int, int]


@dataclass(frozen=True)
class Fingerprint:
    """One row's picture: the same bytes have the same ``content``."""

    content: bytes
    likeness: Likeness

    @classmethod
    def of(cls, data: bytes, likeness: Likeness) -> "Fingerprint":
        """Return the fingerprint of a picture's file."""
        return cls(hashlib.sha256(data).digest()[:8], likeness)

    def packed(self) -> bytes:
        """Return ``RECORD``."""
        return RECORD.pack(self.content, self.likeness.bits, *self.likeness.colour)


@dataclass(frozen=True)
class Overlap:
    """What two datasets share, as rows of the first.

    Attributes:
        rows: of the first.
        identical: have a picture that is in the second, byte for byte.
        alike: have one that looks like a picture of the second, and is not in it.
        examples: the first few, ``{row, other, identical}``.
    """

    rows: int
    identical: int
    alike: int
    examples: list[dict[str, Any]]

    def as_json(self) -> dict[str, Any]:
        """Return a report."""
        return asdict(self)


class Seen:
    """The pictures that passed by, to be asked for one like the next; some 250 bytes of memory for each."""

    def __init__(self) -> None:
        self._rows = 0
        self._contents: dict[bytes, int] = {}
        self._bits = array("Q")
        self._colours = bytearray()
        self._places = array("Q")
        self._bands: dict[int, array[int]] = {}

    def same(self, one: Fingerprint) -> int | None:
        """Return the first row that has the very same picture."""
        return self._contents.get(one.content)

    def alike(self, one: Likeness) -> int | None:
        """Return a row whose picture looks alike, of the ``MOST_NEIGHBOURS`` last of each band."""
        for band in _bands(one.bits):
            for number in reversed(self._bands.get(band, ())):
                if (self._bits[number] ^ one.bits).bit_count() > MOST_BITS:
                    continue
                colour = self._colours[3 * number : 3 * number + 3]
                if all(abs(mine - its) <= MOST_COLOUR for mine, its in zip(one.colour, colour, strict=True)):
                    return self._places[number]
        return None

    def add(self, one: Fingerprint) -> None:
        """Remember the next row's picture; one that was there already is only counted."""
        row = self._rows
        self._rows += 1
        if self._contents.setdefault(one.content, row) != row:
            return
        number = len(self._bits)
        self._bits.append(one.likeness.bits)
        self._colours += bytes(one.likeness.colour)
        self._places.append(row)
        for band in _bands(one.likeness.bits):
            members = self._bands.setdefault(band, array("I"))
            if len(members) == MOST_NEIGHBOURS:
                del members[0]
            members.append(number)


def likeness(small: Image.Image) -> Likeness:
    """Return the likeness of an upright RGB picture, which may be small already."""
    cells = small.convert("L").resize(GRID, Image.Resampling.BOX).tobytes()
    bits = 0
    for at in range(len(cells)):
        if (at + 1) % GRID[0]:
            bits = bits << 1 | (cells[at] + DARKER_BY < cells[at + 1])
    red, green, blue = (round(mean) for mean in ImageStat.Stat(small).mean)
    return Likeness(bits, (red, green, blue))


def fingerprints(data: bytes) -> Iterator[Fingerprint]:
    """Read ``RECORD`` after ``RECORD``; ValueError when they are cut off."""
    if len(data) % RECORD.size:
        raise ValueError("the fingerprints are cut off")
    for content, bits, red, green, blue in RECORD.iter_unpack(data):
        yield Fingerprint(content, Likeness(bits, (red, green, blue)))


def overlap(first: Iterable[Fingerprint], second: Iterable[Fingerprint]) -> Overlap:
    """Tell which rows of the first have a picture of the second, or one like it."""
    seen = Seen()
    for one in second:
        seen.add(one)
    rows = identical = alike = 0
    examples: list[dict[str, Any]] = []
    for row, one in enumerate(first):
        rows += 1
        other = seen.same(one)
        same = other is not None
        if other is None:
            other = seen.alike(one.likeness)
        if other is None:
            continue
        identical += same
        alike += not same
        if len(examples) < EXAMPLES:
            examples.append({"row": row, "other": other, "identical": same})
    return Overlap(rows, identical, alike, examples)


def _bands(bits: int) -> Iterator[int]:
    """Yield the four bands of a hash, each marked by its place."""
    for band in range(BANDS):
        yield band << BAND_BITS | (bits >> (band * BAND_BITS)) & ((1 << BAND_BITS) - 1)
