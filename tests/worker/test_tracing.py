"""A request and the unit it caused are one trace, and one id in the logs: real processes, a real receiver."""

import gzip
import json
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from core.db import Database
from core.migrate import migrate
from core.models import DatasetState
from core.settings import Settings
from core.storage.store import store_for
from core.tracing import current_origin, span
from tests.api.platform import archive, server_in
from tests.worker.platform import Platform
from worker.child import environment

CALLER = "4bf92f3577b34da6a3ce929d0e0e4736"


@contextmanager
def collector() -> Iterator[tuple[str, list[Span]]]:
    """Receive traces as a collector does, over OTLP/HTTP; yield its address and what it got."""
    spans: list[Span] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                for scope in resource.scope_spans:
                    spans.extend(scope.spans)
            self.send_response(200 if self.path == "/v1/traces" else 404)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the name it has above
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", spans
        server.shutdown()


@contextmanager
def without_engine(folder: Path, address: str) -> Iterator[Platform]:
    """Make a platform whose workers read archives, for which no pipeline is needed."""
    (folder / "models").mkdir()
    settings = Settings(state=folder / "state", base_models=folder / "models", otlp_endpoint=address)
    migrate(settings)
    told = {"SPINDLE_STATE": str(settings.state), "SPINDLE_OTLP_ENDPOINT": address}
    made = Platform(settings, os.environ | told, Database(settings), store_for(settings))
    try:
        yield made
    finally:
        made.stop()
        made.database.dispose()


def attributes(found: Span) -> dict[str, Any]:
    return {each.key: each.value.string_value or each.value.int_value for each in found.attributes}


def above(found: Span, spans: Iterable[Span]) -> list[bytes]:
    """Return the ids of the spans around one, the nearest first."""
    parents = {each.span_id: each.parent_span_id for each in spans}
    ids = [found.parent_span_id]
    while ids[-1] in parents:
        ids.append(parents[ids[-1]])
    return ids


@pytest.mark.timeout(900)
def test_a_trace_leads_from_the_request_to_the_upload(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "200")
    with collector() as (address, spans), without_engine(tmp_path, address) as made:
        monkeypatch.setenv("SPINDLE_OTLP_ENDPOINT", address)
        made.start("units", "--kinds", "ingest")
        with server_in(made.settings) as served:
            told = {"X-Request-Id": "req-of-the-test", "traceparent": f"00-{CALLER}-00f067aa0ba902b7-01"}
            body = {"name": "pictures", "file": served.upload(archive(3))}
            answer = served.client.post("/v1/datasets", json=body, headers=told)
            assert answer.status_code == 200, answer.text
            dataset_id = answer.json()["id"]
            made.until(lambda: made.dataset(dataset_id).state is DatasetState.ready)
        made.stop()
    ours = {found.name: found for found in spans if found.trace_id.hex() == CALLER}
    assert {"POST /v1/datasets", "unit ingest", "claim", "stage", "run", "upload", "finish"} <= set(ours)
    request, unit = ours["POST /v1/datasets"], ours["unit ingest"]
    assert request.parent_span_id.hex() == "00f067aa0ba902b7"
    assert request.span_id in above(unit, ours.values())
    for name in ("claim", "stage", "run", "finish"):
        assert ours[name].parent_span_id == unit.span_id, name
    assert ours["upload"].parent_span_id == ours["finish"].span_id
    assert attributes(request)["spindle.request_id"] == "req-of-the-test"
    assert attributes(unit)["spindle.dataset"] == dataset_id
    assert attributes(unit)["spindle.fence"] == 1

    said = (made.settings.state / "units.log").read_text().splitlines()
    lines = [json.loads(line) for line in said if line.startswith("{")]
    of_unit = [line for line in lines if line.get("unit") == attributes(unit)["spindle.unit"]]
    assert {"unit_claimed", "unit_succeeded"} <= {line["event"] for line in of_unit}
    for line in of_unit:
        assert (line["request_id"], line["dataset"], line["fence"], line["attempt"], line["kind"]) == (
            "req-of-the-test",
            dataset_id,
            1,
            1,
            "ingest",
        )


def test_without_a_collector_nothing_is_traced_and_the_sdk_is_not_loaded() -> None:
    with span("work") as opened:
        assert not opened.is_recording()
        assert current_origin() is None


def test_what_opens_the_collector_is_not_told_to_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer secret")
    assert not [name for name in environment() if name.startswith("OTEL_")]
