"""What the API answers about webhooks."""

from spindle.results import Result


class WebhookEndpoint(Result):
    """An address that is told of events; ``signing_secret`` is told once, when it is made or replaced."""

    id: str
    name: str = ""
    url: str
    event_types: tuple[str, ...] = ()
    enabled: bool = True
    disabled_reason: str | None = None
    failing_since: int | None = None
    signing_secret: str | None = None
    signing_secret_hint: str = ""
    created_at: int = 0


class WebhookTest(Result):
    """What an endpoint answered to a test."""

    webhook_endpoint_id: str
    event_type: str
    status_code: int


class WebhookAttempt(Result):
    """One request to an endpoint: its status, or why there is none."""

    created_at: int
    milliseconds: int
    status: int | None = None
    error: str | None = None
    response: str | None = None


class WebhookDelivery(Result):
    """An event that an endpoint is owed, and every attempt to send it."""

    id: str
    event_id: str
    event_type: str
    status: str
    created_at: int
    next_attempt_at: int | None = None
    payload: str = ""
    attempts: tuple[WebhookAttempt, ...] = ()


class Replayed(Result):
    """How many deliveries are sent again."""

    webhook_endpoint_id: str
    replayed: int
