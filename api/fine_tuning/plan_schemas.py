"""The shape of what a job can be made of, and of what it would come to."""

from dataclasses import asdict
from typing import Any, Literal, Self

from pydantic import BaseModel, Field

from api.schemas import Input
from core.offers import Kind, Offer, PresetName
from core.runs.forecast import Forecast


class EstimateObject(BaseModel):
    """What a job would come to. What is not known is null."""

    object: Literal["fine_tuning.estimate"] = "fine_tuning.estimate"
    model: str
    method: dict[str, Any] = Field(description="With every hyperparameter resolved.")
    device: Literal["cpu", "gpu"]
    steps: int = Field(description="Optimiser steps in all.")
    rows: int | None = Field(description="Of the training data.")
    seconds: float | None = Field(
        description="Of work for one worker, by the project's last jobs on this base model."
    )
    disk_bytes: int | None = Field(description="In the store when it has ended.")
    memory_bytes_at_least: int | None = Field(
        description="Of a training process; activations come on top of it."
    )
    queue_position: int = Field(description="1: it would be started next on its queue.")
    estimated_start: int | None = Field(description="Unix seconds.")
    waits_for: str | None = Field(description="The worker that is missing.")
    refused: str | None = Field(description="Why the project's limits do not allow it now.")

    @classmethod
    def of(cls, found: Forecast) -> Self:
        """Render a forecast."""
        return cls.model_validate(asdict(found) | {"device": found.device.value})


class MethodListing(Input):
    """The query of the methods."""

    model: str | None = Field(
        None, min_length=1, max_length=200, description="Whose recommendations; left out: the methods' own."
    )


class SettingObject(BaseModel):
    """One hyperparameter: ``kind`` says how it is chosen; ``recommended`` is what ``"auto"`` comes to."""

    name: str
    label: str
    help: str
    kind: Kind
    choices: list[str]
    minimum: float | None
    maximum: float | None
    recommended: Any
    first: bool = Field(description="Whether most people want to see it.")


class PresetObject(BaseModel):
    """Hyperparameters under a name; those that it leaves out are as recommended."""

    name: PresetName
    title: str
    meaning: str
    hyperparameters: dict[str, Any]


class MethodObject(BaseModel):
    """A method as it is offered for a model."""

    type: str
    object: Literal["fine_tuning.method"] = "fine_tuning.method"
    title: str
    summary: str
    needs_pairs: bool = Field(description="Whether it learns from pairs of a better and a worse picture.")
    plays_rounds: bool = Field(description="Whether it draws its own rivals, round after round.")
    settings: list[SettingObject]
    presets: list[PresetObject]

    @classmethod
    def of(cls, offer: Offer) -> Self:
        """Render an offer."""
        return cls.model_validate(asdict(offer))
