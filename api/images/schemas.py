"""The shape of pictures that are asked for and drawn."""

import secrets
from collections.abc import Callable
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from api.schemas import Input, Timestamp
from core.models import Drawing, DrawingState

MAX_PICTURES = 10
MAX_PARTIALS = 3


class ImageCreate(Input):
    """What to draw. The same model, prompt, seed, size, steps and guidance give the same picture."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"model": "starter", "prompt": "a red fox", "n": 2, "seed": 7}]}
    )

    model: str = Field(
        min_length=1, max_length=200, description="A base model, a result, or a checkpoint's id."
    )
    prompt: str = Field(max_length=4000)
    negative_prompt: str | None = Field(None, max_length=4000)
    n: int = Field(
        1, ge=1, le=MAX_PICTURES, strict=True, description="How many; picture i is drawn with seed + i."
    )
    seed: int | None = Field(
        None, ge=0, lt=2**31 - MAX_PICTURES, strict=True, description="Drawn when left out, and told."
    )
    seeds: list[int] | None = Field(
        None, min_length=1, max_length=MAX_PICTURES, description="One seed a picture, in place of seed and n."
    )
    size: str | None = Field(
        None,
        pattern=r"^(auto|[1-9]\d{0,3}x[1-9]\d{0,3})$",
        description="`WIDTHxHEIGHT`, or `auto`: the model's own.",
    )
    steps: int = Field(20, ge=1, le=200, strict=True, description="Sampler steps.")
    guidance_scale: float = Field(
        7.5, ge=1, le=50, strict=True, description="Classifier-free guidance; 1: none."
    )
    response_format: Literal["b64_json", "url"] = "b64_json"
    stream: bool = Field(
        default=False, strict=True, description="Answer with server-sent events, as pictures come about."
    )
    partial_images: int = Field(
        0, ge=0, le=MAX_PARTIALS, strict=True, description="Looks at each picture on its way; with `stream`."
    )
    timeout_seconds: float | None = Field(
        None,
        gt=0,
        le=86400,
        strict=True,
        description="Give up what is not drawn by then; no longer than the platform waits anyway.",
    )
    request_key: str | None = Field(
        None,
        min_length=1,
        max_length=200,
        description="Where an alias is split between two versions, the same key gets the same one.",
    )

    @model_validator(mode="after")
    def _one_way_to_seed(self) -> Self:
        if self.seeds is not None:
            if not self.model_fields_set.isdisjoint({"n", "seed"}):
                raise ValueError("seeds says how many and from where: leave out n and seed")
            if any(not 0 <= seed < 2**31 for seed in self.seeds):
                raise ValueError("each of seeds must be from 0 to 2147483647")
        if self.partial_images and not self.stream:
            raise ValueError("partial_images come by a stream: set stream to true")
        for side in self.sides or ():
            if side % 8 or not 8 <= side <= 4096:
                raise ValueError(f"size: each side must be a multiple of 8 from 8 to 4096, not {side}")
        return self

    def seeds_of_pictures(self) -> list[int]:
        """Return one seed a picture; each call draws anew what was left open."""
        if self.seeds is not None:
            return self.seeds
        first = self.seed if self.seed is not None else secrets.randbelow(2**31 - MAX_PICTURES)
        return [first + index for index in range(self.n)]

    @property
    def sides(self) -> tuple[int, int] | None:
        """Width and height, or None for the model's own."""
        if self.size in (None, "auto"):
            return None
        width, _, height = self.size.partition("x")
        return int(width), int(height)


class ImageObject(BaseModel):
    """One picture, in base64 or at an address that is good for an hour."""

    b64_json: str | None = None
    url: str | None = None
    revised_prompt: None = None
    seed: int


class ImagesObject(BaseModel):
    """The pictures of one request."""

    id: str
    created: int
    model: str
    output_format: Literal["png"] = "png"
    size: str | None = None
    data: list[ImageObject]


Status = Literal["queued", "running", "succeeded", "failed", "cancelled"]


class PictureLink(BaseModel):
    """Where a picture can be read for an hour, by anybody who has the link."""

    url: str
    seed: int


class DrawingFailure(BaseModel):
    """Why there are no pictures."""

    reason: str
    message: str


class DrawingObject(BaseModel):
    """A request for pictures: it stays for a day after it has ended, its links for an hour."""

    id: str
    object: Literal["image.generation"] = "image.generation"
    created: Timestamp
    finished: Timestamp | None
    model: str
    alias: str | None
    status: Status
    prompt: str
    negative_prompt: str | None
    seeds: list[int]
    size: str | None
    steps: int
    guidance_scale: float
    background: bool
    queue_position: int | None
    failure: DrawingFailure | None
    data: list[PictureLink] | None

    @classmethod
    def of(cls, drawing: Drawing, *, link: Callable[[str], str], queue_position: int | None = None) -> Self:
        """Show a row; ``link`` makes the address of an object."""
        asked: dict[str, Any] = drawing.request
        files = drawing.result["files"] if drawing.result is not None else None
        sided = asked["width"] is not None
        return cls(
            id=drawing.id,
            created=drawing.created_at,
            finished=drawing.finished_at,
            model=drawing.model_id,
            alias=drawing.alias,
            status="queued" if drawing.state is DrawingState.pending else drawing.state.value,
            prompt=asked["prompt"],
            negative_prompt=asked["negative_prompt"],
            seeds=asked["seeds"],
            size=f"{asked['width']}x{asked['height']}" if sided else None,
            steps=asked["steps"],
            guidance_scale=asked["guidance_scale"],
            background=drawing.background,
            queue_position=queue_position,
            failure=None if drawing.failure is None else DrawingFailure(**drawing.failure),
            data=None
            if files is None
            else [
                PictureLink(url=link(file["key"]), seed=seed)
                for file, seed in zip(files, asked["seeds"], strict=True)
            ],
        )
