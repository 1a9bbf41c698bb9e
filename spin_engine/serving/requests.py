"""What the drawing process is asked for, a line each."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from spin_engine.hyperparameters import Config

Seed = Annotated[int, Field(ge=0, lt=2**63)]
Side = Annotated[int, Field(ge=8, le=4096)]
MAX_PARTIALS = 3


class Wish(Config):
    """One drawing of a batch: a prompt, and one picture a seed into ``out``."""

    id: str
    model: str = ""
    """What the pictures are to say that drew them."""
    prompt: str
    negative_prompt: str | None = None
    seeds: list[Seed] = Field(min_length=1, max_length=64)
    partial_images: int = Field(0, ge=0, le=MAX_PARTIALS)
    out: Path


class Batch(Config):
    """Drawings that go together. ``base`` and ``weights`` are folders whose contents never change."""

    id: str
    base: Path
    weights: Path | None = None
    width: Side | None = None
    height: Side | None = None
    steps: int = Field(ge=1, le=1000)
    guidance_scale: float = Field(ge=1, le=50)
    pictures: int = Field(16, ge=1, le=256)
    """How many are drawn in one go."""
    drawings: list[dict[str, Any]] = Field(min_length=1)
    """Wishes, each checked by itself: one that is wrong spoils no other."""


class Cancel(Config):
    """Ids of drawings that nobody wants any more."""

    cancel: list[str]
