"""Around every request: an id, an upper limit on the body, one log line, two measurements.

Pure ASGI, so that streams pass through untouched.
"""

import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog
from opentelemetry.trace import SpanKind
from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import crashed, problem
from core.tracing import span

log = structlog.get_logger(__name__)

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
QUIET = ("/livez", "/readyz", "/metrics")


class HttpMetrics:
    """How many requests, and how long they took, by route."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "spindle_http_requests", "Requests answered.", ("method", "route", "status"), registry=registry
        )
        self.seconds = Histogram(
            "spindle_http_request_seconds",
            "Seconds until the answer began.",
            ("method", "route"),
            registry=registry,
            buckets=(0.005, 0.02, 0.1, 0.5, 2, 10, 60, 300),
        )


def route_of(scope: Scope) -> str:
    """Return the route's template, so that ids do not become labels."""
    route = scope.get("route")
    if route is None:
        return "none"
    prefix = "/v1" if scope["path"].startswith("/v1/") else ""
    return prefix + str(route.path)


@contextmanager
def request_span(scope: Scope, request_id: str) -> Iterator[None]:
    """Surround a request with its span, named by its route; it goes on the caller's trace if there is one."""
    if scope["path"] in QUIET:
        yield
        return
    caller = dict(Headers(scope=scope))
    with span(scope["method"], origin=caller, role=SpanKind.SERVER, request_id=request_id) as opened:
        try:
            yield
        finally:
            opened.update_name(f"{scope['method']} {route_of(scope)}")


class Observed:
    """Gives each request its id, writes its log line and counts it.

    The line holds the path but never the query, headers or body: those carry keys and signatures.
    """

    def __init__(self, app: ASGIApp, *, metrics: HttpMetrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and watch its answer."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if REQUEST_ID.fullmatch(given) else "req-" + secrets.token_hex(12)
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        began = time.perf_counter()
        status, first_byte = 0, 0.0

        async def observed_send(message: Message) -> None:
            nonlocal status, first_byte
            if message["type"] == "http.response.start":
                status, first_byte = message["status"], time.perf_counter() - began
                MutableHeaders(scope=message)["x-request-id"] = request_id
            await send(message)

        structlog.contextvars.bind_contextvars(request_id=request_id)
        try:
            with request_span(scope, request_id):
                await self.app(scope, receive, observed_send)
        except Exception as error:
            # Outside of this the answer would have no request id and the log line no status.
            log.error("unhandled_error", method=scope["method"], path=scope["path"], exc_info=error)
            if status:
                raise
            await crashed()(scope, receive, observed_send)
        finally:
            route = route_of(scope)
            self.metrics.requests.labels(scope["method"], route, str(status)).inc()
            self.metrics.seconds.labels(scope["method"], route).observe(first_byte)
            say = log.debug if scope["path"] in QUIET else log.info
            say(
                "request",
                method=scope["method"],
                path=scope["path"],
                route=route,
                status=status,
                milliseconds=round((time.perf_counter() - began) * 1000, 1),
                project_id=state.get("project_id"),
                key_id=state.get("key_id"),
            )
            structlog.contextvars.unbind_contextvars("request_id")


class BodyLimit:
    """Refuses a body larger than its route takes, with or without a Content-Length."""

    def __init__(self, app: ASGIApp, *, limit_for: Callable[[Scope], int]) -> None:
        self.app = app
        self.limit_for = limit_for

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count the body while it is read."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        limit = self.limit_for(scope)
        message = f"the body is larger than the {limit} bytes this address takes"
        length = Headers(scope=scope).get("content-length", "")
        if length.isdecimal() and int(length) > limit:
            return await problem(413, message, code="body_too_large")(scope, receive, send)
        received = 0

        async def limited_receive() -> Message:
            nonlocal received
            part = await receive()
            received += len(part.get("body", b""))
            if received > limit:
                raise HTTPException(413, message)
            return part

        return await self.app(scope, limited_receive, send)
