"""What the API answers where pictures are asked for."""

import base64

from spindle.results import Failure, Result


class Picture(Result):
    """A drawn picture, in base64 or at an address."""

    b64_json: str | None = None
    url: str | None = None
    seed: int | None = None


class Drawing(Result):
    """A request for pictures; ``data`` are addresses that are good for an hour, once it has succeeded."""

    id: str
    status: str
    created: int
    finished: int | None = None
    model: str = ""
    alias: str | None = None
    prompt: str = ""
    seeds: tuple[int, ...] = ()
    queue_position: int | None = None
    failure: Failure | None = None
    data: tuple[Picture, ...] | None = None

    @property
    def has_ended(self) -> bool:
        """Whether it has come to its end, good or bad."""
        return self.status in {"succeeded", "failed", "cancelled"}


class ImageEvent(Result):
    """A picture of a stream, or a look at one on its way."""

    type: str
    b64_json: str
    seed: int = 0
    size: str = ""
    partial_image_index: int | None = None

    @property
    def is_final(self) -> bool:
        """Whether it is the picture itself."""
        return self.type == "image_generation.completed"

    @property
    def png(self) -> bytes:
        """The bytes of its PNG file."""
        return base64.b64decode(self.b64_json, validate=True)
