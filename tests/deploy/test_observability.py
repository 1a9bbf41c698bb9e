"""Real processes seen by a real Prometheus and a real receiver of traces.

Each expression of the dashboard and of the alerts is asked; one trace leads from a request to the engine.
"""

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from sqlalchemy import select

from core.db import transaction
from core.models import Attempt, DatasetState, JobState, Reason
from tests.deploy.scraping import Prometheus, alerts, expressions, prometheus, selectors
from tests.services import free_ports
from tests.worker.platform import ROOT, Platform, archive, engines, platform
from tests.worker.processes import within
from tests.worker.test_signing import credentials_in
from tests.worker.test_tracing import above, attributes, collector

pytestmark = pytest.mark.timeout(1800)  # many processes, two of which import torch
SMALL = {"batch_size": 2, "rank": 2, "checkpoint_every": 1, "eval_samples": 1, "eval_steps": 1}
SELF_PLAY = {"n_iterations": 1, "steps": 2, "learning_rate": 1e-3, "rival_steps": 1}
METHOD = {"type": "spin", "spin": {"hyperparameters": SMALL | SELF_PLAY}}
JOBS, PICTURES = "4bf92f3577b34da6a3ce929d0e0e4736", "0af7651916cd43dd8448eb211c80319c"
CALLER = "00f067aa0ba902b7"
DRIVER = """#!/bin/sh
echo "0, 512, 24576, 30, 45"
echo "1, 0, 24576, 0, [N/A]"
"""


@dataclass
class Scraped:
    """A platform that has seen good and bad, the Prometheus that watched it, and the spans that it told."""

    made: Platform
    server: Prometheus
    spans: list[Span]
    ports: dict[str, int]


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scraped]:
    folder = tmp_path_factory.mktemp("scraped")
    _pretend_to_have_a_driver(folder / "bin")
    chosen = {name: str(path) for name, path in credentials_in(folder).items()}
    ports = dict(zip(("api", "units", "serve", "beat"), free_ports(4), strict=True))
    at = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
    chosen["public_url"] = f"http://{at['api']}"
    targets = {"spindle-api": [at["api"]], "spindle-worker": [at["units"], at["serve"], at["beat"]]}
    with (
        collector() as (chosen["otlp_endpoint"], spans),
        platform(folder, **chosen) as made,
        prometheus(folder, targets) as server,
    ):
        made.environment["OTEL_BSP_SCHEDULE_DELAY"] = "200"
        made.environment["PATH"] = f"{folder / 'bin'}:{os.environ['PATH']}"
        _start_api(made, ports["api"])
        for role in ("units", "serve", "beat"):
            made.environment["SPINDLE_METRICS_PORT"] = str(ports[role])
            made.start(role, *(("--device", "cpu") if role == "units" else ()))
        made.until(lambda: server.healthy() == set(at.values()))
        _live_through_it(made, folder)
        seen = 'max(spindle_pictures_total{outcome="succeeded"}) > 0 and max(spindle_retries_total) > 0'
        made.until(lambda: server.query(seen))
        _ask_now_and_then(made)
        yield Scraped(made, server, spans, ports)


def _pretend_to_have_a_driver(folder: Path) -> None:
    """Put NVIDIA's program, as it answers on a machine with two GPUs, where workers look for it."""
    folder.mkdir()
    program = folder / "nvidia-smi"
    program.write_text(DRIVER)
    program.chmod(0o755)


def _start_api(made: Platform, port: int) -> None:
    with (made.settings.state / "api.log").open("wb") as log:
        command = [sys.executable, "-m", "api", "--port", str(port)]
        made.processes.append(subprocess.Popen(command, env=made.environment, cwd=ROOT, stderr=log))


def _live_through_it(made: Platform, folder: Path) -> None:
    """Train, with its first engine killed; draw; and have the store fail a request."""
    dataset_id = made.upload(archive(folder, 4))
    made.until(lambda: made.dataset(dataset_id).state is DatasetState.ready)
    key = (made.settings.state / "key").read_text().strip()
    headers = {"Authorization": f"Bearer {key}"}
    with httpx2.Client(base_url=made.settings.public_url, headers=headers, timeout=300) as client:
        asked: dict[str, Any] = {"model": "tiny", "training_file": dataset_id, "method": METHOD}
        answer = client.post("/v1/fine_tuning/jobs", json=asked, headers=_caller(JOBS))
        assert answer.status_code == 200, answer.text
        job_id = answer.json()["id"]
        made.until(lambda: _killed(made))
        asked = {"model": "tiny", "prompt": "red circle", "n": 1}
        answer = client.post("/v1/images/generations", json=asked, headers=_caller(PICTURES))
        assert answer.status_code == 200, (answer.text, made.logs())
        made.until(lambda: made.job(job_id).state in (JobState.succeeded, JobState.failed))
        assert made.job(job_id).state is JobState.succeeded, made.logs()
        _break_the_store(made, client)


def _killed(made: Platform) -> bool:
    """Kill the engine that runs, unless a worker has told already that one was lost.

    An engine that ends just then was not lost; who is seen before nothing was told is no second attempt.
    """
    seen = engines(made.settings.state / "work" / "units-1", leashes=False)
    with transaction(made.database) as session:
        if session.scalars(select(Attempt.outcome).where(Attempt.outcome == Reason.worker_lost)).all():
            return True
    for pid in seen:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return False


def _ask_now_and_then(made: Platform) -> None:
    """Send requests between scrapes: a rate wants two of these, and a rise."""
    for _ in range(3):
        assert httpx2.get(f"{made.settings.public_url}/docs", timeout=60).status_code == 200
        time.sleep(1.1)


def _caller(trace: str) -> dict[str, str]:
    return {"traceparent": f"00-{trace}-{CALLER}-01"}


def _break_the_store(made: Platform, client: httpx2.Client) -> None:
    objects = made.settings.state / "objects"
    away = objects.rename(objects.with_name("objects-away"))
    objects.write_text("a file where the folder was")
    try:
        refused = client.post(
            "/v1/files", files={"file": ("a.jsonl", b"{}\n")}, data={"purpose": "fine-tune"}
        )
    finally:
        objects.unlink()
        away.rename(objects)
    assert refused.status_code >= 500, refused.text


def test_every_expression_of_the_dashboard_returns_data(scraped: Scraped) -> None:
    empty: dict[tuple[str, str], list[float]] = {}

    def are_none_empty() -> bool:
        """Ask again: a busy process may have missed its last scrape, or all between two requests."""
        empty.clear()
        for title, expression in expressions():
            values = [value for _, value in scraped.server.query(expression)]
            if not values or all(math.isnan(value) for value in values):
                empty[title, expression] = values
        if empty:
            _ask_now_and_then(scraped.made)
        return not empty

    assert within(120, are_none_empty), empty


def test_what_the_alerts_select_is_there_and_their_rules_work(scraped: Scraped) -> None:
    groups = scraped.server.ask("rules", type="alert")["groups"]
    rules = {rule["name"]: rule for group in groups for rule in group["rules"]}
    assert rules.keys() == alerts().keys()
    assert {name: rule["lastError"] for name, rule in rules.items() if rule["health"] != "ok"} == {}
    found = {each for rule in alerts().values() for each in selectors(rule["expr"])}
    assert len(found) > 20
    for each in found:
        assert within(120, lambda each=each: bool(scraped.server.query(each))), each  # type: ignore[misc]


def test_the_numbers_are_those_of_what_happened(scraped: Scraped) -> None:
    def comes_to(expression: str, number: float) -> None:
        """The beat counts every few seconds, and a busy process may have missed its last scrape."""
        found: list[float] = []

        def is_there() -> bool:
            found[:] = [value for _, value in scraped.server.query(expression)]
            return found == [number]

        assert within(120, is_there), (expression, found)

    comes_to('sum(spindle_retries_total{reason="worker_lost"})', 1)
    comes_to('sum(spindle_child_ends_total{end="killed"})', 1)
    comes_to('sum(spindle_attempts_total{kind="train", outcome="succeeded"})', 1)
    failed = 'spindle_store_operations_total{job="spindle-api", operation="put", outcome="failed"}'
    comes_to(f"sum({failed})", 1)
    comes_to('sum(spindle_pictures_total{outcome="succeeded"})', 1)
    comes_to('min(spindle_certificate_expiry_timestamp_seconds{what="c2pa"} - time()) > bool 0', 1)
    comes_to(
        'spindle_gpu_memory_used_bytes{gpu="0", job="spindle-worker"} and on (instance) '
        'spindle_process_info{role="units"}',
        512 << 20,
    )
    comes_to("count(spindle_process_info)", 4)
    comes_to("min(spindle_database_up)", 1)
    for role in ("api", "units", "serve", "beat"):
        comes_to(f'count(spindle_process_info{{role="{role}"}})', 1)


def test_each_process_lives_and_a_port_that_is_taken_is_refused(scraped: Scraped) -> None:
    for port in scraped.ports.values():
        assert httpx2.get(f"http://127.0.0.1:{port}/livez", timeout=120).status_code == 200
    taken = scraped.ports["serve"]
    second = subprocess.run(
        [sys.executable, "-m", "worker", "beat"],
        env=scraped.made.environment | {"SPINDLE_METRICS_PORT": str(taken)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert second.returncode == 78
    assert f"cannot listen on port {taken} for metrics (Address already in use)" in second.stderr
    assert "Traceback" not in second.stderr


class Trace:
    """The spans of one trace.

    Args:
        scraped: where they were told.
        trace: its id.
        last: what each process that has a part in it tells last.
    """

    def __init__(self, scraped: Scraped, trace: str, *, last: set[str]) -> None:
        """Wait until processes have told what they are about to tell."""
        self.spans: list[Span] = []

        def is_whole() -> bool:
            self.spans = [found for found in tuple(scraped.spans) if found.trace_id.hex() == trace]
            return last <= {each.name for each in self.spans}

        assert within(60, is_whole), {each.name for each in self.spans}

    def named(self, name: str) -> list[Span]:
        """Return the spans of a name, the earliest first."""
        found = [each for each in self.spans if each.name == name]
        return sorted(found, key=lambda each: each.start_time_unix_nano)

    def request(self, name: str) -> Span:
        """Return the span of a request, which is told once."""
        [found] = self.named(name)
        assert found.parent_span_id.hex() == CALLER
        return found

    def inside(self, outer: Span) -> list[str]:
        """Return the names of the spans right below one, in the order in which they began."""
        found = [each for each in self.spans if each.parent_span_id == outer.span_id]
        return [each.name for each in sorted(found, key=lambda each: each.start_time_unix_nano)]

    def run_of(self, unit: Span) -> Span:
        """Return the last of a unit's processes."""
        return [each for each in self.named("run") if each.parent_span_id == unit.span_id][-1]


def test_one_trace_leads_from_the_request_to_the_phases_of_the_engine(scraped: Scraped) -> None:
    trace = Trace(scraped, JOBS, last={"POST /v1/fine_tuning/jobs", "unit publish"})
    request = trace.request("POST /v1/fine_tuning/jobs")
    phases = {
        "encode": ["import", "load", "encode"],
        "generate": ["import", "load", "generate"],
        "train": ["import", "load", "steps", "checkpoint", "upload", "steps", "checkpoint", "upload", "save"],
        "evaluate": ["import", "load", "draw", "measure"],
        "publish": ["import", "publish"],
    }
    for kind, expected in phases.items():
        unit = trace.named(f"unit {kind}")[-1]
        assert request.span_id in above(unit, trace.spans), kind
        run = trace.run_of(unit)
        assert sorted(trace.inside(run)) == sorted(expected), kind
        for each in trace.spans:
            if each.parent_span_id == run.span_id:
                assert run.start_time_unix_nano <= each.start_time_unix_nano, each.name
                assert each.end_time_unix_nano <= run.end_time_unix_nano, each.name
    steps = trace.named("steps")
    told = [(attributes(each)["spindle.first"], attributes(each)["spindle.last"]) for each in steps]
    assert told == [(0, 1), (1, 2)]
    [lost] = [each for each in trace.spans if "spindle.reason" in attributes(each)]
    assert attributes(lost)["spindle.reason"] == "worker_lost"
    assert [each.span_id == lost.span_id for each in trace.named(lost.name)] == [True, False]


def test_no_scrape_and_no_probe_is_traced(scraped: Scraped) -> None:
    def names() -> set[str]:
        return {each.name for each in tuple(scraped.spans)}

    assert within(60, lambda: "POST /v1/files" in names()), names()
    assert not [name for name in names() if "/metrics" in name or "/livez" in name or "fastapi" in name]


def test_the_message_is_part_of_the_trace_on_both_sides_of_the_queue(scraped: Scraped) -> None:
    trace = Trace(scraped, JOBS, last={"POST /v1/fine_tuning/jobs", "unit publish"})
    request = trace.request("POST /v1/fine_tuning/jobs")
    sent = trace.named("send worker.units.encode")[0]
    assert request.span_id in above(sent, trace.spans)
    heard = trace.named("hear worker.units.encode")[0]
    assert heard.parent_span_id == sent.span_id
    assert heard.start_time_unix_nano >= sent.start_time_unix_nano
    encoded = trace.named("unit encode")[-1]
    assert encoded.span_id in above(trace.named("send worker.units.generate")[0], trace.spans)


def test_a_picture_is_followed_into_its_batch(scraped: Scraped) -> None:
    trace = Trace(scraped, PICTURES, last={"POST /v1/images/generations", "drawing"})
    request = trace.request("POST /v1/images/generations")
    [drawing] = trace.named("drawing")
    assert request.span_id in above(drawing, trace.spans)
    assert trace.inside(drawing) == ["stage", "batch", "upload"]
    [batch], [draw] = trace.named("batch"), trace.named("draw")
    assert draw.parent_span_id == batch.span_id
    assert attributes(batch)["spindle.together"] == 1
    assert batch.start_time_unix_nano <= draw.start_time_unix_nano
    assert draw.end_time_unix_nano <= batch.end_time_unix_nano
