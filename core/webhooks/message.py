"""A signed event on its way to an endpoint."""

from dataclasses import dataclass, field

import structlog

from core.settings import Settings
from core.webhooks import signing
from core.webhooks.addresses import Resolver, resolve
from core.webhooks.post import Outcome, post

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Message:
    """What is sent, where to, and the secrets that sign it; ``delivery_id`` is empty in a test."""

    delivery_id: str
    event_id: str
    body: str
    url: str
    keys: tuple[str, ...] = field(repr=False)


def send(message: Message, *, settings: Settings, resolver: Resolver = resolve) -> Outcome:
    """Sign a message, send it, and log how it went; never where to, which may hold a secret of its own."""
    outcome = post(
        message.url,
        body=message.body,
        headers=signing.headers(event_id=message.event_id, body=message.body, keys=message.keys),
        networks=settings.networks_of_webhooks(),
        seconds=settings.webhook_timeout_seconds,
        resolver=resolver,
    )
    say = log.info if outcome.delivered else log.warning
    say(
        "webhook_sent",
        delivery=message.delivery_id,
        event_id=message.event_id,
        status=outcome.status,
        error=outcome.error,
        milliseconds=outcome.milliseconds,
    )
    return outcome
