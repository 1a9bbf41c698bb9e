"""The shape of the audit log."""

from typing import Literal, Self

from pydantic import BaseModel, Field

from api.schemas import Listing, Timestamp
from core.models import AuditEntry


class AuditListing(Listing):
    """The query of the audit log."""

    key_id: str | None = Field(None, max_length=200, description="Only what this key did.")
    object_id: str | None = Field(None, max_length=200, description="Only what was done to this object.")


class AuditObject(BaseModel):
    """One change, or one that was not allowed."""

    id: str
    object: Literal["audit_entry"] = "audit_entry"
    created_at: Timestamp
    key_id: str
    method: str
    route: str = Field(description="The address, with `{...}` in the place of ids.")
    object_id: str | None = Field(description="What was changed or made.")
    outcome: Literal["done", "denied"] = Field(description="`denied`: the key's scopes do not allow it.")
    request_id: str | None = Field(description="The `x-request-id` of the answer, and of the log's lines.")

    @classmethod
    def of(cls, row: AuditEntry) -> Self:
        """Render a row."""
        return cls.model_validate(
            {
                "id": row.id,
                "created_at": row.created_at,
                "key_id": row.key_id,
                "method": row.method,
                "route": row.route,
                "object_id": row.object_id,
                "outcome": row.outcome,
                "request_id": row.request_id,
            }
        )
