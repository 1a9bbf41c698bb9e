"""Whether a request is sent again, and when: the same for both transports."""

import json
import random
from typing import Any
from urllib.parse import urlsplit

import httpx

from spindle.errors import ApiError, NotRunningError

RETRIED = frozenset({429, 502, 503, 504})
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
CONNECT_SECONDS = 10.0


def connection(url: str, key: str | None, timeout: float) -> dict[str, Any]:
    """Return the arguments of httpx's clients for an address, a key, and seconds to wait."""
    return {
        "base_url": url,
        "headers": {"Authorization": f"Bearer {key}"} if key else {},
        "timeout": httpx.Timeout(timeout, connect=CONNECT_SECONDS),
        # A proxy of the environment cannot reach this machine's own address.
        "trust_env": urlsplit(url).hostname not in LOOPBACK,
    }


def wait_after(
    result: httpx.Response | httpx.TransportError, *, attempt: int, attempts: int, url: str
) -> float | None:
    """Return the seconds until the next attempt; None when the result is the answer.

    A connection that fails, 429, 502, 503 and 504 are tried again, after Retry-After where it is told.

    Args:
        result: of this attempt.
        attempt: its number, from 1.
        attempts: how many there may be.
        url: the address, for the message.

    Raises:
        ApiError: the API refused.
        NotRunningError: nothing answered in all attempts.
    """
    if isinstance(result, httpx.TransportError):
        if attempt == attempts:
            raise NotRunningError(unreachable(url, result)) from result
        return pause(attempt)
    if result.is_success:
        return None
    # Our own first try may still run on the server: 409 on a later one is not a refusal.
    again = result.status_code in RETRIED or (attempt > 1 and result.status_code == 409)
    # A limit that was reached stays so for longer than anyone waits at a prompt.
    again = again and not (result.status_code == 429 and result.headers.get("x-should-retry") == "false")
    if not again or attempt == attempts:
        raise problem(result)
    return _retry_after(result) or pause(attempt)


def problem(answer: httpx.Response) -> ApiError:
    """Turn a refusal into an error that carries the problem's message."""
    try:
        body = answer.json()
    except (json.JSONDecodeError, UnicodeDecodeError):
        body = {}
    if not isinstance(body, dict):
        body = {}
    error = body.get("error")
    told = error if isinstance(error, dict) else {}
    message = told.get("message") or body.get("detail") or body.get("title")
    return ApiError(
        answer.status_code,
        str(message or f"{answer.request.method} {answer.request.url.path}: HTTP {answer.status_code}"),
        type=str(told.get("type") or ""),
        param=told.get("param"),
        code=told.get("code"),
        request_id=answer.headers.get("x-request-id"),
    )


def pause(attempt: int) -> float:
    """Return the seconds before the next attempt: doubling, at most 8, spread so that no clients march."""
    return float(min(8.0, 0.25 * 2**attempt) * random.uniform(0.5, 1.0))


def unreachable(url: str, error: Exception) -> str:
    """Say that nothing answers, and what to do."""
    return (
        f"Nothing answers at {url} ({error}). "
        "Start Spindle with `spindle up`, or give its address in SPINDLE_URL."
    )


def _retry_after(answer: httpx.Response) -> float | None:
    try:
        return min(60.0, max(0.0, float(answer.headers.get("Retry-After", ""))))
    except ValueError:
        return None
