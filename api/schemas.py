"""What the bodies of every resource share: strict input, lists, timestamps."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Generic, Literal, Protocol, TypeVar

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, WithJsonSchema, model_validator

ItemT = TypeVar("ItemT")


class Input(BaseModel):
    """What a client sends. A field that is not known is an error, never ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _storable(cls, data: Any) -> Any:
        """Refuse what PostgreSQL cannot keep in a text, at any depth."""
        if "\\u0000" in json.dumps(data, default=str):
            raise ValueError("a NUL character cannot be stored: leave it out")
        return data


class Listing(Input):
    """The query of a list."""

    limit: int = Field(20, ge=1, le=100, description="How many at most.")
    after: str | None = Field(
        None, max_length=200, description="Continue after this id: the last one received."
    )


class Listed(BaseModel, Generic[ItemT]):
    """One page of a list, newest first; ask again with ``after=<last_id>`` while ``has_more`` is true."""

    object: Literal["list"] = "list"
    data: list[ItemT]
    first_id: str | None
    last_id: str | None
    has_more: bool


class Deleted(BaseModel):
    """What is left of a thing that was deleted."""

    id: str
    object: str
    deleted: Literal[True] = True


Timestamp = Annotated[
    datetime,
    PlainSerializer(lambda moment: int(moment.timestamp()), return_type=int),
    WithJsonSchema({"type": "integer", "description": "Unix seconds, UTC."}, mode="serialization"),
]
ListQuery = Annotated[Listing, Query()]
Metadata = Annotated[
    dict[Annotated[str, Field(min_length=1, max_length=64)], Annotated[str, Field(max_length=512)]],
    Field(max_length=16, description="Up to 16 pairs of strings, kept with the job."),
]


class Identified(Protocol):
    """Whatever has an id, which is then its place in a list."""

    @property
    def id(self) -> str:
        """The id."""


def page_of(data: Sequence[Identified], *, has_more: bool) -> dict[str, Any]:
    """Return the body of a list of things with ids."""
    return page_at(data, [item.id for item in data], has_more=has_more)


def page_at(data: Sequence[Any], places: Sequence[str], *, has_more: bool) -> dict[str, Any]:
    """Return the body of a list; ``places`` are what ``after`` takes, one an item."""
    return {
        "object": "list",
        "data": data,
        "first_id": places[0] if places else None,
        "last_id": places[-1] if places else None,
        "has_more": has_more,
    }
