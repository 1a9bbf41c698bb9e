"""OpenTelemetry's SDK: batches of spans over OTLP/HTTP. Loaded by core.tracing when a collector is named."""

from importlib.metadata import version

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor


def export(endpoint: str, *, service: str) -> None:
    """Make every span of this process go to ``endpoint``, in the background.

    A collector that is away costs its spans and nothing else. Headers that it asks for are read by the
    exporter from OTEL_EXPORTER_OTLP_HEADERS.
    """
    if isinstance(trace.get_tracer_provider(), TracerProvider):
        return  # an app may be made twice in one process
    told = {"service.name": service, "service.version": version("spindle")}
    provider = TracerProvider(resource=Resource.create(told))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{endpoint}/v1/traces")))
    trace.set_tracer_provider(provider)
