"""``/v1/webhook_endpoints``."""

from collections.abc import Sequence
from typing import Any

from spindle import results, webhook_results
from spindle.call import Call, Listing, known, post
from spindle.call import delete as _delete
from spindle.call import get as _get

PATH = "/v1/webhook_endpoints"


def create(
    name: str, url: str, *, event_types: Sequence[str] | None = None
) -> Call[webhook_results.WebhookEndpoint]:
    """Make an endpoint; its secret is told this once.

    Args:
        name: what it is for.
        url: ``https://...``, at a public address.
        event_types: the events that are sent; None: all.
    """
    told = {"name": name, "url": url, "event_types": None if event_types is None else list(event_types)}
    return post(webhook_results.WebhookEndpoint, PATH, known(told))


def get(endpoint_id: str) -> Call[webhook_results.WebhookEndpoint]:
    """Return an endpoint, without its secret."""
    return _get(webhook_results.WebhookEndpoint, f"{PATH}/{endpoint_id}")


def list_(*, limit: int | None = None) -> Listing[webhook_results.WebhookEndpoint]:
    """Yield endpoints, newest first, without their secrets."""
    return Listing(webhook_results.WebhookEndpoint, PATH, limit)


def update(
    endpoint_id: str,
    *,
    name: str | None = None,
    url: str | None = None,
    event_types: Sequence[str] | None = None,
    enabled: bool | None = None,
) -> Call[webhook_results.WebhookEndpoint]:
    """Change what is given of an endpoint; ``enabled=True`` mends one that was disabled."""
    told: dict[str, Any] = {"name": name, "url": url, "event_types": event_types, "enabled": enabled}
    return post(webhook_results.WebhookEndpoint, f"{PATH}/{endpoint_id}", known(told))


def delete(endpoint_id: str) -> Call[results.Deleted]:
    """Delete an endpoint."""
    return _delete(f"{PATH}/{endpoint_id}")


def rotate_secret(endpoint_id: str, *, keep_old: bool = True) -> Call[webhook_results.WebhookEndpoint]:
    """Give an endpoint a new secret, told this once; the old one signs beside it for a day if it is kept."""
    told = {"keep_old_secret_active_for_24_hours": keep_old}
    return post(webhook_results.WebhookEndpoint, f"{PATH}/{endpoint_id}/rotate_secret", told)


def test(endpoint_id: str, event_type: str) -> Call[webhook_results.WebhookTest]:
    """Send a made-up event now, and return what the endpoint answered."""
    return post(webhook_results.WebhookTest, f"{PATH}/{endpoint_id}/test", {"event_type": event_type})


def deliveries(
    endpoint_id: str, *, status: str | None = None, limit: int | None = None
) -> Listing[webhook_results.WebhookDelivery]:
    """Yield what the endpoint was owed, newest first; only ``pending``, ``succeeded`` or ``failed`` ones."""
    path = f"{PATH}/{endpoint_id}/deliveries"
    return Listing(webhook_results.WebhookDelivery, path, limit, params={"status": status})


def replay(endpoint_id: str, delivery_id: str) -> Call[webhook_results.WebhookDelivery]:
    """Send one delivery again."""
    return post(webhook_results.WebhookDelivery, f"{PATH}/{endpoint_id}/deliveries/{delivery_id}/replay")


def replay_failed(endpoint_id: str, *, since: int) -> Call[webhook_results.Replayed]:
    """Send again all that failed of the events since a moment, in unix seconds."""
    return post(webhook_results.Replayed, f"{PATH}/{endpoint_id}/replay", {"since": since})
