"""Many drawn pictures, on disk rather than in memory: a PNG each, opened when it is looked at."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

from PIL import Image

from spin_engine.diffusion import derive_seed
from spin_engine.families.family import Family
from spin_engine.sampler import BATCH, draw


class Gallery(Sequence[Image.Image]):
    """The pictures of a folder by number: ``00000.png``, ``00001.png``, ..."""

    def __init__(self, folder: Path, numbers: range) -> None:
        """Hold the pictures of these numbers, drawn or still to be drawn."""
        self.folder = folder
        self.numbers = numbers

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, index: int) -> Image.Image: ...
    @overload
    def __getitem__(self, index: slice) -> "Gallery": ...
    def __getitem__(self, index: int | slice) -> "Image.Image | Gallery":
        """Return a picture, or a part of the gallery, still on disk."""
        if isinstance(index, slice):
            return Gallery(self.folder, self.numbers[index])
        with Image.open(self.path(self.numbers[index])) as picture:
            return picture.convert("RGB")

    def __iter__(self) -> Iterator[Image.Image]:
        return (self[index] for index in range(len(self)))

    def path(self, number: int) -> Path:
        """Return where a picture lies, or will."""
        return self.folder / f"{number:05d}.png"

    def put(self, number: int, picture: Image.Image) -> None:
        """Let a picture appear."""
        partial = self.folder / f".{number:05d}.partial"
        picture.save(partial, "PNG", compress_level=1)
        partial.replace(self.path(number))


@dataclass(frozen=True)
class Sitting:
    """How pictures are drawn."""

    steps: int
    guidance: float
    side: int
    """Of a picture, in pixels."""


def seed_of(seed: int, index: int, number: int) -> int:
    """Return the seed of picture ``number`` of caption ``index``: of the job's seed, and of no method.

    However many pictures a caption gets, its first ones stay the same.
    """
    return derive_seed(seed, "evaluate", index, *([number] if number else [])) % 2**31


def fill(
    gallery: Gallery,
    family: Family,
    captions: Sequence[str],
    seeds: Sequence[int],
    how: Sitting,
    *,
    before: Callable[[], None],
    after: Callable[[int], None],
    part: int = 0,
    parts: int = 1,
) -> None:
    """Draw the pictures that a gallery does not hold yet, in batches that do not depend on which those are.

    Args:
        gallery: to draw into; its folder exists.
        family: the model that draws.
        captions: [N], one a picture.
        seeds: [N], of the noise to start from.
        how: to draw.
        before: called before each batch.
        after: called with the number of pictures after each batch, drawn or there already.
        part: which of ``parts`` equal shares of the batches to draw, from 0.
        parts: among how many the batches are shared.
    """
    for start in range(part * BATCH, len(captions), parts * BATCH):
        before()
        numbers = range(start, min(start + BATCH, len(captions)))
        if not all(gallery.path(number).exists() for number in numbers):
            some = slice(numbers.start, numbers.stop)
            drawn = draw(
                family,
                captions[some],
                [""] * len(numbers),
                seeds[some],
                steps=how.steps,
                guidance=how.guidance,
                height=how.side,
                width=how.side,
            )
            for number, picture in zip(numbers, drawn, strict=True):
                gallery.put(number, picture)
        after(len(numbers))
