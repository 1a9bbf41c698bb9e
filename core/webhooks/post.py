"""One request to an endpoint: to a checked address, without redirects or proxies, and never for long."""

import re
import ssl
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from importlib.metadata import version
from typing import Any

import certifi
import httpcore

from core.clock import utcnow
from core.webhooks.addresses import Networks, Resolver, may_reach, resolve

ANSWER_BYTES = 1024
LONGEST_ERROR = 300
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
FAILURES = (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError)


@dataclass(frozen=True)
class Outcome:
    """What came of a request.

    Attributes:
        began_at: when it was sent.
        milliseconds: how long it took.
        status: HTTP's, None when no answer came.
        error: why no answer came.
        answer: the first bytes of the body, as text.
        retry_after: how many seconds the endpoint asks us to wait.
    """

    began_at: datetime
    milliseconds: int
    status: int | None = None
    error: str | None = None
    answer: str | None = None
    retry_after: float | None = None

    @property
    def delivered(self) -> bool:
        """Whether the endpoint took it; a redirect is a refusal."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def gone(self) -> bool:
        """Whether the endpoint wants nothing more, ever."""
        return self.status == 410


class RefusedAddress(Exception):  # noqa: N818  as the errors of core.errors
    """The name leads where webhooks may not go."""


def post(
    url: str,
    *,
    body: str,
    headers: Mapping[str, str],
    networks: Networks,
    seconds: float,
    resolver: Resolver = resolve,
    tls: ssl.SSLContext | None = None,
) -> Outcome:
    """Send a body and return what came of it; what goes wrong is an outcome, never an exception.

    Args:
        url: where to; its host is looked up once, and the address that was checked is the one connected to,
            so that a name cannot lead elsewhere between the two.
        body: JSON.
        headers: beside those that every request has.
        networks: allowed beside public addresses.
        seconds: for all of it: connecting, TLS, the answer and its first bytes.
        resolver: finds a host's addresses.
        tls: what is trusted; by default certifi's authorities.
    """
    began_at, began = utcnow(), time.monotonic()
    secure = url.startswith("https:")
    backend = CheckedBackend(
        networks=networks, tls=secure, resolver=resolver, deadline=Deadline(began + seconds)
    )
    told: dict[str, Any] = {}
    try:
        with (
            httpcore.ConnectionPool(
                ssl_context=tls or authorities(), network_backend=backend, retries=0
            ) as pool,
            pool.stream(
                "POST",
                url,
                headers=list((fixed_headers() | dict(headers)).items()),
                content=body.encode(),
                extensions={"timeout": dict.fromkeys(("connect", "read", "write", "pool"), seconds)},
            ) as response,
        ):
            told["status"] = response.status
            told["retry_after"] = _seconds(response.headers)
            told["answer"] = _head(response.iter_stream())
    except RefusedAddress as error:
        told["error"] = str(error)
    except FAILURES as error:
        # An answer whose body breaks off is an answer all the same.
        if "status" not in told:
            told["error"] = _said(error)
    return Outcome(began_at, round((time.monotonic() - began) * 1000), **told)


@dataclass(frozen=True)
class Deadline:
    """A moment of the monotonic clock that every step counts down to, however little each one takes."""

    at: float

    def left(self, timeout: float | None) -> float:
        """Return the seconds that a step may take; ReadTimeout when none are left."""
        left = self.at - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout("the answer took too long")
        return left if timeout is None else min(left, timeout)


class CheckedBackend(httpcore.NetworkBackend):
    """Connects to addresses that were checked, and to no others."""

    def __init__(self, *, networks: Networks, tls: bool, resolver: Resolver, deadline: Deadline) -> None:
        self._networks = networks
        self._tls = tls
        self._resolver = resolver
        self._deadline = deadline
        self._plain = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first address of a host that answers, if webhooks may go to all it has."""
        try:
            found = self._resolver(host, port)
        except OSError as error:
            raise httpcore.ConnectError(f"the host's name leads nowhere: {error}") from error
        if not found or not all(may_reach(each, networks=self._networks, tls=self._tls) for each in found):
            # What it leads to is not said: the log of deliveries must not map the network for its reader.
            raise RefusedAddress("the host's name leads to an address that webhooks may not be sent to")
        failed: Exception = httpcore.ConnectError("the host has no address")
        for address in found:
            try:
                opened = self._plain.connect_tcp(
                    address, port, self._deadline.left(timeout), local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
            else:
                return TimedStream(opened, self._deadline)
        raise failed


class TimedStream(httpcore.NetworkStream):
    """A connection on which no drip of bytes, each in time, goes on beyond the deadline."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read what has come."""
        return self._stream.read(max_bytes, self._deadline.left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send."""
        self._stream.write(buffer, self._deadline.left(timeout))

    def close(self) -> None:
        """Hang up."""
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """Go on over TLS, with the name in the certificate."""
        opened = self._stream.start_tls(ssl_context, server_hostname, self._deadline.left(timeout))
        return TimedStream(opened, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        """Tell what the connection below knows."""
        return self._stream.get_extra_info(info)


@lru_cache(maxsize=1)
def authorities() -> ssl.SSLContext:
    """Return what is trusted by default; reading it takes a twentieth of a second."""
    return ssl.create_default_context(cafile=certifi.where())


@lru_cache(maxsize=1)
def fixed_headers() -> dict[str, str]:
    """Return the headers of every request."""
    return {
        "Content-Type": "application/json",
        "User-Agent": f"spindle/{version('spindle')}",
        "Accept-Encoding": "identity",
        "Connection": "close",
    }


def _head(pieces: Iterable[bytes]) -> str:
    head = b""
    for piece in pieces:
        head += piece
        if len(head) >= ANSWER_BYTES:
            break
    return CONTROLS.sub("", head[:ANSWER_BYTES].decode(errors="replace"))


def _seconds(headers: Iterable[tuple[bytes, bytes]]) -> float | None:
    """Return what Retry-After asks for, where it is a number of seconds."""
    for name, value in headers:
        if name.lower() == b"retry-after" and value.isdigit():
            return float(value[:9])
    return None


def _said(error: Exception) -> str:
    text = CONTROLS.sub("", str(error)) or "no answer came in time"
    return f"{type(error).__name__}: {text}"[:LONGEST_ERROR]
