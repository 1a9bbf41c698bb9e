"""The shape of keys."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator

from api.schemas import Input, Timestamp
from core import keys
from core.models import ApiKey

Scope = Literal["read", "train", "serve", "admin"]
LAST_SECOND = 253_402_300_799  # of the year 9999, where dates end


class KeyCreate(Input):
    """What makes a key."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "training pipeline", "scopes": ["read", "train"]}]}
    )

    name: str = Field(min_length=1, max_length=100, description="What it is for.")
    scopes: list[Scope] = Field(
        ["read", "train", "serve"],
        min_length=1,
        max_length=4,
        description="What it may do: `read` everything; `train`: upload, make datasets and jobs, delete; "
        "`serve`: have pictures drawn; `admin`: make, rotate and revoke keys, read the audit log.",
    )
    expires_at: int | None = Field(
        None,
        ge=0,
        le=LAST_SECOND,
        strict=True,
        description="Unix seconds from which it no longer works.",
    )

    @field_validator("scopes")
    @classmethod
    def _each_once(cls, scopes: list[Scope]) -> list[Scope]:
        if len(set(scopes)) < len(scopes):
            raise ValueError("name each scope once")
        return scopes


class KeyRotate(Input):
    """What gives a key a new secret."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"grace_seconds": 3600}]})

    grace_seconds: int = Field(
        24 * 3600,
        ge=0,
        le=30 * 24 * 3600,
        strict=True,
        description="How long the secrets it had before still work; 0: not from now on.",
    )


class KeyObject(BaseModel):
    """A key of the project. ``key`` is told once, in the answer that made or rotated it."""

    id: str
    object: Literal["api_key"] = "api_key"
    name: str
    prefix: str | None = Field(description="How its secret begins; null for keys of before this was kept.")
    scopes: list[Scope]
    created_at: Timestamp
    expires_at: Timestamp | None
    last_used_at: Timestamp | None = Field(description="To the minute.")
    revoked_at: Timestamp | None
    key: str | None = None

    @classmethod
    def of(cls, row: ApiKey, *, secret: str | None = None) -> Self:
        """Render a row."""
        return cls.model_validate(
            {
                "id": row.id,
                "name": row.name,
                "prefix": row.prefix,
                "scopes": keys.scopes_of(row),
                "created_at": row.created_at,
                "expires_at": row.expires_at,
                "last_used_at": row.last_used_at,
                "revoked_at": row.revoked_at,
                "key": secret,
            }
        )
