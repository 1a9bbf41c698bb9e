"""The shape of pictures that are asked for and drawn."""

import secrets
from typing import Literal, Self

from pydantic import BaseModel, Field, model_validator

from api.schemas import Input

MAX_PICTURES = 10


class ImageCreate(Input):
    """What to draw. The same model, prompt, seed, size, steps and guidance give the same picture."""

    model: str = Field(
        min_length=1, max_length=200, description="A base model, a result, or a checkpoint's id."
    )
    prompt: str = Field(max_length=4000)
    negative_prompt: str | None = Field(None, max_length=4000)
    n: int = Field(1, ge=1, le=MAX_PICTURES, description="How many; picture i is drawn with seed + i.")
    seed: int | None = Field(
        None, ge=0, lt=2**31 - MAX_PICTURES, description="Drawn when left out, and told."
    )
    seeds: list[int] | None = Field(
        None, min_length=1, max_length=MAX_PICTURES, description="One seed a picture, in place of seed and n."
    )
    size: str | None = Field(
        None,
        pattern=r"^(auto|[1-9]\d{0,3}x[1-9]\d{0,3})$",
        description="`WIDTHxHEIGHT`, or `auto`: the model's own.",
    )
    steps: int = Field(20, ge=1, le=200, description="Sampler steps.")
    guidance_scale: float = Field(7.5, ge=1, le=50, description="Classifier-free guidance; 1: none.")
    response_format: Literal["b64_json", "url"] = "b64_json"

    @model_validator(mode="after")
    def _one_way_to_seed(self) -> Self:
        if self.seeds is not None:
            if not self.model_fields_set.isdisjoint({"n", "seed"}):
                raise ValueError("seeds says how many and from where: leave out n and seed")
            if any(not 0 <= seed < 2**31 for seed in self.seeds):
                raise ValueError("each of seeds must be from 0 to 2147483647")
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
