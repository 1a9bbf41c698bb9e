"""HTTP to the API: retries that cannot do a thing twice, streams, and errors in the problem's own words."""

import json
import random
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import httpx

from spindle.errors import ApiError, NotRunningError

RETRIED = frozenset({429, 502, 503, 504})
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True)
class Upload:
    """A file that goes up as multipart form data, read piece by piece."""

    stream: BinaryIO
    filename: str
    form: dict[str, str] = field(default_factory=dict)


class Transport:
    """Sends requests, again where that is safe.

    A POST carries an Idempotency-Key that stays the same over its retries, so that it takes effect once.
    A connection that fails, 429, 502, 503 and 504 are tried again, after Retry-After where it is told.

    Args:
        url: the address, without ``/v1``.
        key: the API key.
        attempts: how often a request is sent at most.
        timeout: seconds to wait for an answer to begin, or for more of it.
        sleep: waits that many seconds; given by tests.
    """

    def __init__(
        self,
        url: str,
        key: str | None,
        *,
        attempts: int = 5,
        timeout: float = 60.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        assert attempts >= 1, "a request must be sent at least once"
        self.url = url
        self.attempts = attempts
        self.sleep = sleep
        self._http = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(timeout, connect=10.0),
            # A proxy of the environment cannot reach this machine's own address.
            trust_env=urlsplit(url).hostname not in LOOPBACK,
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def alive(self) -> bool:
        """Tell whether the API's process answers, at the first try."""
        try:
            return self._http.get("/livez", timeout=5.0).is_success
        except httpx.TransportError:
            return False

    def request(
        self,
        method: str,
        path: str,
        *,
        params: dict[str, Any] | None = None,
        body: dict[str, Any] | None = None,
        upload: Upload | None = None,
        timeout: float | None = None,
    ) -> Any:
        """Send a request and return the JSON of its answer.

        Raises:
            ApiError: the API refused.
            NotRunningError: nothing answered in all attempts.
        """
        headers = {"Idempotency-Key": str(uuid.uuid4())} if method == "POST" else {}
        arguments: dict[str, Any] = {"params": _known(params), "headers": headers}
        if timeout is not None:
            arguments["timeout"] = timeout
        if body is not None:
            arguments["json"] = body
        if upload is not None:
            arguments["data"] = upload.form
            arguments["files"] = {"file": (upload.filename, upload.stream)}

        def send() -> httpx.Response:
            if upload is not None:
                upload.stream.seek(0)
            return self._http.request(method, path, **arguments)

        answer = self._retry(send)
        return answer.json() if answer.content else None

    def _retry(self, send: Callable[[], httpx.Response]) -> httpx.Response:
        for attempt in range(1, self.attempts + 1):
            try:
                answer = send()
            except httpx.TransportError as error:
                if attempt == self.attempts:
                    raise NotRunningError(_unreachable(self.url, error)) from error
                self.sleep(_pause(attempt))
                continue
            if answer.is_success:
                return answer
            # Our own first try may still run on the server: 409 on a later one is not a refusal.
            again = answer.status_code in RETRIED or (attempt > 1 and answer.status_code == 409)
            # A limit that was reached stays so for longer than anyone waits at a prompt.
            again = again and not (
                answer.status_code == 429 and answer.headers.get("x-should-retry") == "false"
            )
            if not again or attempt == self.attempts:
                raise problem(answer)
            self.sleep(_retry_after(answer) or _pause(attempt))
        raise AssertionError("the last attempt returns or raises")

    @contextmanager
    def stream(
        self, path: str, *, params: dict[str, Any] | None = None, headers: dict[str, str] | None = None
    ) -> Iterator[httpx.Response]:
        """Open a GET whose body is read as it comes; it is tried once.

        Raises:
            ApiError: the API refused.
            httpx.TransportError: the connection failed, at once or later.
        """
        with self._http.stream("GET", path, params=_known(params), headers=headers or {}) as answer:
            if not answer.is_success:
                answer.read()
                raise problem(answer)
            yield answer


def problem(answer: httpx.Response) -> ApiError:
    """Turn a refusal into an error that carries the problem's message."""
    try:
        body = answer.json()
    except json.JSONDecodeError:
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
    )


def _known(params: dict[str, Any] | None) -> dict[str, Any]:
    return {key: value for key, value in (params or {}).items() if value is not None}


def _pause(attempt: int) -> float:
    """Return the seconds before the next attempt: doubling, at most 8, spread so that no clients march."""
    return float(min(8.0, 0.25 * 2**attempt) * random.uniform(0.5, 1.0))


def _retry_after(answer: httpx.Response) -> float | None:
    try:
        return min(60.0, max(0.0, float(answer.headers.get("Retry-After", ""))))
    except ValueError:
        return None


def _unreachable(url: str, error: Exception) -> str:
    return (
        f"Nothing answers at {url} ({error}). "
        "Start Spindle with `spindle up`, or give its address in SPINDLE_URL."
    )
