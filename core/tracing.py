"""Traces from a request to the units it caused: off unless SPINDLE_OTLP_ENDPOINT names a collector.

What a request was - its id, and its place in a trace - is kept with the job or dataset that it made, as its
``origin``; the worker that runs a unit of it goes on from there, however much later.
"""

import importlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import structlog
from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from core.settings import Settings

TRACER = trace.get_tracer("spindle")
W3C = TraceContextTextMapPropagator()
REQUEST_ID = "request_id"
TRACEPARENT = "traceparent"


def configure_tracing(settings: Settings, *, service: str) -> None:
    """Send this process's spans to the collector of the settings, if they name one."""
    if settings.otlp_endpoint:
        # Loaded only now: the SDK and its exporter take half a second, in vain on most platforms.
        importlib.import_module("core.tracing_export").export(settings.otlp_endpoint, service=service)


def flush_tracing() -> None:
    """Send what has not been sent; for a process that ends without Python's own exit."""
    provider = trace.get_tracer_provider()
    if hasattr(provider, "force_flush"):
        provider.force_flush()


def current_origin() -> dict[str, str] | None:
    """Return what caused the work at hand: ``request_id``, and W3C's ``traceparent`` where it is traced."""
    origin: dict[str, str] = {}
    W3C.inject(origin)
    request_id = structlog.contextvars.get_contextvars().get(REQUEST_ID)
    if request_id is not None:
        origin[REQUEST_ID] = str(request_id)
    return origin or None


def request_of(origin: Mapping[str, str] | None) -> dict[str, str]:
    """Return what the log lines of the work tell of the request that caused it: its id, where it is known."""
    return {} if not origin or REQUEST_ID not in origin else {REQUEST_ID: origin[REQUEST_ID]}


@contextmanager
def span(
    name: str,
    *,
    origin: Mapping[str, str] | None = None,
    role: SpanKind = SpanKind.INTERNAL,
    began: int | None = None,
    **attributes: Any,
) -> Iterator[Span]:
    """Surround some work with a span; it costs nothing to speak of when no collector is named.

    Args:
        name: what is done.
        origin: what caused it, where that is not what runs around it now.
        role: ``SERVER`` and ``CONSUMER`` are where a request or a unit enters a process.
        began: when, in nanoseconds since 1970; now when missing.
        attributes: stand as ``spindle.NAME``; None is left out.
    """
    told = {f"spindle.{key}": value for key, value in attributes.items() if value is not None}
    context = None if origin is None else W3C.extract(origin)
    with TRACER.start_as_current_span(
        name, context=context, kind=role, attributes=told, start_time=began
    ) as opened:
        yield opened


def note_span(
    name: str, *, began: int, ended: int | None = None, inside: Span | None = None, **attributes: Any
) -> Span:
    """Add a span of work that is over and return it.

    Args:
        name: what was done.
        began: when, in nanoseconds since 1970.
        ended: likewise; now when missing.
        inside: the span around it; the present one when missing.
        attributes: stand as ``spindle.NAME``; None is left out.
    """
    told = {f"spindle.{key}": value for key, value in attributes.items() if value is not None}
    context = None if inside is None else trace.set_span_in_context(inside)
    noted = TRACER.start_span(name, context=context, attributes=told, start_time=began)
    noted.end(end_time=ended)
    return noted


def is_traced() -> bool:
    """Tell whether the work at hand is part of a trace."""
    return trace.get_current_span().get_span_context().is_valid


def carried() -> dict[str, str]:
    """Return the headers by which a message carries the place in the trace; none where there is no trace."""
    headers: dict[str, str] = {}
    W3C.inject(headers)
    return headers


def mark_failed(reason: str, message: str) -> None:
    """Tell in the present span that its work failed."""
    present = trace.get_current_span()
    present.set_attribute("spindle.reason", reason)
    present.set_status(Status(StatusCode.ERROR, message[:200]))
