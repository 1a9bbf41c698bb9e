"""Drawing a batch: pictures of several requests in one go, none of which can spoil another."""

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from PIL import Image
from safetensors import SafetensorError

from spin_engine.device import is_out_of_memory
from spin_engine.families.family import Condition, Family
from spin_engine.sampler import Trajectory, contrasts, initial_noise
from spin_engine.serving.requests import Batch, Wish
from spin_engine.serving.threads import set_threads
from spin_engine.serving.warm import Warm

log = logging.getLogger(__name__)

BROKEN = (
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SafetensorError,
    TypeError,
    ValueError,
)
"""What models that are not as they should be raise, in the libraries that load and run them."""


@dataclass(frozen=True)
class Picture:
    """One picture to be drawn: which of its wish's seeds."""

    wish: Wish
    place: int

    @property
    def seed(self) -> int:
        """Where it starts from."""
        return self.wish.seeds[self.place]


class Audience(Protocol):
    """Who is told what becomes of pictures."""

    def unwanted(self) -> Collection[str]:
        """Return the ids of drawings that nobody wants any more."""

    def glimpse(self, picture: Picture, index: int, image: Image.Image) -> None:
        """Take a look at a picture on its way."""

    def nearly(self) -> None:
        """Hear that the last steps are done, so that what comes next can be prepared."""

    def drawn(self, picture: Picture, image: Image.Image, *, together: int) -> None:
        """Take a picture, drawn in one go with others."""

    def failed(self, wish: Wish, error: BaseException) -> None:
        """Hear that a drawing came to nothing."""


def draw_batch(batch: Batch, wishes: Sequence[Wish], warm: Warm, audience: Audience) -> None:
    """Draw all pictures of a batch, as many at once as the batch says and the memory allows.

    Where memory runs out, other models leave it and the pictures are halved, down to single ones. Where
    something else goes wrong, each drawing is tried by itself, and the one at fault alone is told.
    """
    waiting = [chunk for chunk in _chunks([_pictures(wish) for wish in wishes], batch.pictures) if chunk]
    failed: set[str] = set()
    while waiting:
        chunk = [picture for picture in waiting.pop(0) if picture.wish.id not in failed]
        if not chunk:
            continue
        try:
            family = warm.family(batch.base, batch.weights)
            _draw_together(family, batch, chunk, audience, last=not waiting)
            warm.settle(batch.base, batch.weights)
        except BROKEN as error:
            smaller = _smaller(chunk, error)
            if is_out_of_memory(error):
                warm.alone(batch.base, batch.weights)
            if len(smaller) > 1:
                log.warning("drawn again in %d parts: %s", len(smaller), error)
                waiting = [*smaller, *waiting]
                continue
            if not is_out_of_memory(error):
                warm.forget(batch.base, batch.weights)
            failed.add(chunk[0].wish.id)
            audience.failed(chunk[0].wish, error)


def _pictures(wish: Wish) -> list[Picture]:
    return [Picture(wish, place) for place in range(len(wish.seeds))]


def _chunks(groups: Sequence[list[Picture]], most: int) -> list[list[Picture]]:
    flat = [picture for group in groups for picture in group]
    return [flat[start : start + most] for start in range(0, len(flat), most)]


def _smaller(chunk: list[Picture], error: BaseException) -> list[list[Picture]]:
    """Return what to try in the place of pictures that failed; one part when there is nothing smaller."""
    if is_out_of_memory(error):
        half = len(chunk) // 2
        return [part for part in (chunk[:half], chunk[half:]) if part]
    by_wish: dict[str, list[Picture]] = {}
    for picture in chunk:
        by_wish.setdefault(picture.wish.id, []).append(picture)
    return list(by_wish.values())


def _draw_together(
    family: Family, batch: Batch, chunk: list[Picture], audience: Audience, *, last: bool
) -> None:
    width, height = batch.width or family.resolution, batch.height or family.resolution
    shape = family.latent_shape(height, width)
    set_threads(family, len(chunk))
    negative = None
    if contrasts(family, batch.guidance_scale):
        negative = _encoded(family, [picture.wish.negative_prompt or "" for picture in chunk])
    path = Trajectory(
        family,
        _encoded(family, [picture.wish.prompt for picture in chunk]),
        negative,
        initial_noise([picture.seed for picture in chunk], shape),
        steps=batch.steps,
        guidance=batch.guidance_scale,
    )
    for done, t in enumerate(path.times, start=1):
        chunk = _wanted(path, chunk, audience)
        if not chunk:
            return
        path.step(t)
        _show(family, path, chunk, audience, done=done, of=len(path.times))
    if last:
        audience.nearly()
    images = family.decode(path.latents.float())
    for picture, image in zip(chunk, images, strict=True):
        audience.drawn(picture, image, together=len(chunk))


def _encoded(family: Family, captions: Sequence[str]) -> Condition:
    """Encode captions, each of those that are alike once."""
    different = list(dict.fromkeys(captions))
    encoded = family.encode_text(different)
    if len(different) == len(captions):
        return encoded
    rows = torch.tensor([different.index(caption) for caption in captions], device=family.device)
    return {name: each[rows] for name, each in encoded.items()}


def _wanted(path: Trajectory, chunk: list[Picture], audience: Audience) -> list[Picture]:
    """Leave out of a batch what nobody wants any more."""
    unwanted = audience.unwanted()
    rows = [row for row, picture in enumerate(chunk) if picture.wish.id not in unwanted]
    if len(rows) == len(chunk):
        return chunk
    if rows:
        path.keep(rows)
    return [chunk[row] for row in rows]


def _show(
    family: Family, path: Trajectory, chunk: list[Picture], audience: Audience, *, done: int, of: int
) -> None:
    """Decode a look at those pictures that want one after this step."""
    due = [
        (row, moments(picture.wish.partial_images, of).index(done))
        for row, picture in enumerate(chunk)
        if done in moments(picture.wish.partial_images, of)
    ]
    if not due:
        return
    images = family.decode(path.look()[[row for row, _ in due]])
    for (row, index), image in zip(due, images, strict=True):
        audience.glimpse(chunk[row], index, image)


def moments(number: int, steps: int) -> list[int]:
    """Return after which steps a picture is looked at: at even distances, before the last."""
    chosen = {round(steps * (index + 1) / (number + 1)) for index in range(number)}
    return sorted(chosen & set(range(1, steps)))
