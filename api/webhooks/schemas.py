"""The shape of webhook endpoints, as OpenAI's, and of the log of deliveries."""

from collections.abc import Sequence
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from api.schemas import Input, Listing, Timestamp
from core.models import DeliveryState, WebhookAttempt, WebhookDelivery, WebhookEndpoint
from core.webhooks.events import EventType
from core.webhooks.signing import hint

URL = "https://example.com/spindle"


class EndpointCreate(Input):
    """What makes an endpoint."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"name": "ci", "url": URL, "event_types": ["fine_tuning.job.succeeded"]}]
        }
    )

    name: str = Field(min_length=1, max_length=100, description="What it is for.")
    url: str = Field(
        min_length=1,
        max_length=2000,
        description="`https://`, at a public address unless the platform is set otherwise.",
    )
    event_types: list[EventType] = Field(
        default_factory=lambda: list(EventType),
        min_length=1,
        max_length=100,
        description="The events that are sent; all there are now, when left out.",
    )


class EndpointUpdate(Input):
    """What changes of an endpoint; what is left out stays."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"enabled": True}]})

    name: str | None = Field(None, min_length=1, max_length=100)
    url: str | None = Field(None, min_length=1, max_length=2000)
    event_types: list[EventType] | None = Field(None, min_length=1, max_length=100)
    enabled: bool | None = Field(
        None,
        strict=True,
        description="False: nothing is sent, and what was owed counts as failed. True: from now on again.",
    )


class SecretRotate(Input):
    """How a secret is replaced."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"keep_old_secret_active_for_24_hours": True}]})

    keep_old_secret_active_for_24_hours: bool = Field(
        default=False,
        strict=True,
        description="Sign with both for a day, so that the receiver can change over.",
    )


class EndpointTest(Input):
    """Which event a test sends."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"event_type": "fine_tuning.job.succeeded"}]})

    event_type: EventType = Field(description="The data is made up: `ftjob-sample` or `ds-sample`.")


class FailedReplay(Input):
    """Which failed deliveries are sent again."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"since": 1767225600}]})

    since: int = Field(ge=0, lt=2**33, strict=True, description="Of the events since then; unix seconds.")


class DeliveryListing(Listing):
    """The query of an endpoint's deliveries."""

    status: DeliveryState | None = Field(None, description="Only those that stand so.")


class EndpointObject(BaseModel):
    """An address that is told of events. ``signing_secret`` is told once, when it is made or replaced."""

    id: str
    object: Literal["webhook_endpoint"] = "webhook_endpoint"
    name: str
    url: str
    event_types: list[str]
    enabled: bool
    disabled_reason: str | None
    failing_since: Timestamp | None
    signing_secret_hint: str
    old_secret_until: Timestamp | None
    created_at: Timestamp
    updated_at: Timestamp
    signing_secret: str | None = None

    @classmethod
    def of(cls, row: WebhookEndpoint, *, told: bool = False) -> Self:
        """Render a row, with its secret if it is ``told``."""
        return cls(
            id=row.id,
            name=row.name,
            url=row.url,
            event_types=row.event_types,
            enabled=row.enabled,
            disabled_reason=row.disabled_reason,
            failing_since=row.failing_since,
            signing_secret_hint=hint(row.secret),
            old_secret_until=row.old_secret_until,
            created_at=row.created_at,
            updated_at=row.updated_at,
            signing_secret=row.secret if told else None,
        )


class EndpointTested(BaseModel):
    """What an endpoint answered to a test."""

    object: Literal["webhook_endpoint.test"] = "webhook_endpoint.test"
    webhook_endpoint_id: str
    event_type: str
    status_code: int
    success: Literal[True] = True


class EventTypes(BaseModel):
    """The events that can be sent."""

    object: Literal["list"] = "list"
    data: list[str]


class AttemptObject(BaseModel):
    """One request to an endpoint: its status, or why there is none; ``response`` begins the body."""

    created_at: Timestamp
    milliseconds: int
    status: int | None
    error: str | None
    response: str | None

    @classmethod
    def of(cls, row: WebhookAttempt) -> Self:
        """Render a row."""
        return cls(
            created_at=row.began_at,
            milliseconds=row.milliseconds,
            status=row.status,
            error=row.error,
            response=row.answer,
        )


class DeliveryObject(BaseModel):
    """An event that an endpoint is owed; ``event_id`` is the same in every attempt."""

    id: str
    object: Literal["webhook_endpoint.delivery"] = "webhook_endpoint.delivery"
    webhook_endpoint_id: str
    event_id: str
    event_type: str
    status: DeliveryState
    next_attempt_at: Timestamp | None
    created_at: Timestamp
    finished_at: Timestamp | None
    payload: str
    attempts: list[AttemptObject]

    @classmethod
    def of(cls, row: WebhookDelivery, attempts: Sequence[WebhookAttempt]) -> Self:
        """Render a row with its attempts."""
        return cls(
            id=row.id,
            webhook_endpoint_id=row.endpoint_id,
            event_id=row.event_id,
            event_type=row.event_type,
            status=row.state,
            next_attempt_at=row.due_at if row.state is DeliveryState.pending else None,
            created_at=row.created_at,
            finished_at=row.finished_at,
            payload=row.body,
            attempts=[AttemptObject.of(each) for each in attempts],
        )


class Replayed(BaseModel):
    """How many deliveries are sent again."""

    object: Literal["webhook_endpoint.replay"] = "webhook_endpoint.replay"
    webhook_endpoint_id: str
    replayed: int
