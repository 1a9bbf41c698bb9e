"""Signatures by Standard Webhooks (https://www.standardwebhooks.com): HMAC-SHA256 of id, moment and body."""

import base64
import secrets
from collections.abc import Sequence
from datetime import datetime

from standardwebhooks import Webhook

from core.clock import utcnow

PREFIX = "whsec_"
SECRET_BYTES = 32
SHOWN = 4


def new_secret() -> str:
    """Return a secret with 256 bits of chance, written as the standard has it."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def hint(secret: str) -> str:
    """Return what may be shown of a secret: enough to tell two apart."""
    return f"{PREFIX}...{secret.rstrip('=')[-SHOWN:]}"


def headers(*, event_id: str, body: str, keys: Sequence[str], now: datetime | None = None) -> dict[str, str]:
    """Return the standard's three headers, with one signature for each secret that is good now."""
    now = now or utcnow()
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(Webhook(key).sign(event_id, now, body) for key in keys),
    }
