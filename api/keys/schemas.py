"""The shape of keys."""

from typing import Literal, Self

from pydantic import BaseModel, Field

from api.schemas import Input, Timestamp
from core.models import ApiKey


class KeyCreate(Input):
    """What makes a key."""

    name: str = Field(min_length=1, max_length=100, description="What it is for.")
    scopes: list[Literal["read", "write", "admin"]] = Field(
        ["read", "write"],
        min_length=1,
        max_length=3,
        description="What it may do; `admin` makes and revokes keys.",
    )


class KeyObject(BaseModel):
    """A key of the project. ``key`` is told once, in the answer that made it."""

    id: str
    object: Literal["api_key"] = "api_key"
    name: str
    scopes: list[str]
    created_at: Timestamp
    revoked_at: Timestamp | None
    key: str | None = None

    @classmethod
    def of(cls, row: ApiKey, *, secret: str | None = None) -> Self:
        """Render a row."""
        return cls.model_validate(
            {
                "id": row.id,
                "name": row.name,
                "scopes": row.scopes,
                "created_at": row.created_at,
                "revoked_at": row.revoked_at,
                "key": secret,
            }
        )
