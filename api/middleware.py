"""Around every request: an id, limits on its size and time, a tag of its answer, a log line, measurements.

Pure ASGI, so that streams pass through untouched.
"""

import asyncio
import hashlib
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
from api.routes import route_of
from core.tracing import span

log = structlog.get_logger(__name__)

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
QUIET = ("/livez", "/readyz", "/metrics")
HEAD_BYTES = 32 << 10
HEAD_LINES = 100
IDLE_SECONDS = 60.0


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
                headers = MutableHeaders(scope=message)
                headers.update({"X-Request-Id": request_id} | state.get("answer_headers", {}))
                headers.setdefault("X-Content-Type-Options", "nosniff")
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


class RequestLimits:
    """Refuses a request whose head or body is larger than its route takes, or whose body comes too slowly.

    The server itself bounds how long it waits for a head (api.connection). A body is counted with or without
    a Content-Length, and a client that sends nothing of it for ``idle_seconds`` has gone.
    """

    def __init__(
        self, app: ASGIApp, *, limit_for: Callable[[Scope], int], idle_seconds: float = IDLE_SECONDS
    ) -> None:
        self.app = app
        self.limit_for = limit_for
        self.idle_seconds = idle_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Measure the head, and the body while it is read."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        refusal = self._refusal(scope)
        if refusal is not None:
            return await refusal(scope, receive, send)
        limit, received, complete = self.limit_for(scope), 0, False

        async def limited_receive() -> Message:
            nonlocal received, complete
            if complete:  # what is awaited now is that the client goes away
                return await receive()
            try:
                async with asyncio.timeout(self.idle_seconds):
                    part = await receive()
            except TimeoutError:
                raise HTTPException(408, f"nothing of the body came for {self.idle_seconds:g} s") from None
            received += len(part.get("body", b""))
            complete = not part.get("more_body", False)
            if received > limit:
                raise HTTPException(413, too_large(limit))
            return part

        return await self.app(scope, limited_receive, send)

    def _refusal(self, scope: Scope) -> ASGIApp | None:
        """Return the answer to what can be refused by its head."""
        limit, head = self.limit_for(scope), scope["headers"]
        length = Headers(scope=scope).get("content-length", "")
        if sum(len(name) + len(value) for name, value in head) > HEAD_BYTES or len(head) > HEAD_LINES:
            message = f"the headers are more than {HEAD_LINES} or larger than {HEAD_BYTES} bytes"
            return problem(431, message, code="headers_too_large")
        if length.isdecimal() and int(length) > limit:
            return problem(413, too_large(limit), code="body_too_large")
        return None


def too_large(limit: int) -> str:
    """Say that a body is over its limit."""
    return f"the body is larger than the {limit} bytes this address takes"


class Revalidated:
    """Gives JSON that is read an ETag, and answers 304 to whoever has it already: those who poll, mostly.

    What is streamed passes through untouched, as does what has an ETag of its own.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hold the head of the answer until its body is known."""
        if scope["type"] != "http" or scope["method"] != "GET" or scope["path"] in QUIET:
            return await self.app(scope, receive, send)
        known = Headers(scope=scope).get("if-none-match", "")
        held: Message | None = None

        async def tagging_send(message: Message) -> None:
            nonlocal held
            if message["type"] == "http.response.start":
                if _may_be_tagged(message):
                    held = message
                    return
            elif held is not None:
                start, held = held, None
                if not message.get("more_body", False):
                    start, message = _tagged(start, message, known)
                await send(start)
            await send(message)

        return await self.app(scope, receive, tagging_send)


def _may_be_tagged(start: Message) -> bool:
    headers = Headers(raw=start["headers"])
    is_json = headers.get("content-type", "").startswith("application/json")
    return start["status"] == 200 and is_json and "etag" not in headers


def _tagged(start: Message, body: Message, known: str) -> tuple[Message, Message]:
    """Return the whole answer with its tag, or the one that says "as before"."""
    tag = f'"{hashlib.sha256(body.get("body", b"")).hexdigest()[:32]}"'
    headers = MutableHeaders(raw=list(start["headers"]))
    headers["ETag"] = tag
    headers["Cache-Control"] = "private, no-cache"
    headers.add_vary_header("Authorization")
    given = {each.strip().removeprefix("W/") for each in known.split(",")}
    if given.isdisjoint({tag, "*"}):
        return {**start, "headers": headers.raw}, body
    del headers["content-length"], headers["content-type"]
    return {**start, "status": 304, "headers": headers.raw}, {**body, "body": b""}
