"""The real process: streams that resume, uploads that do not fill its memory, a stop that does not wait."""

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.api.conftest import settings_in
from tests.api.platform import Served, server_in

JOBS = "/v1/fine_tuning/jobs"


@contextmanager
def stream(server: Served, job_id: str, **headers: str) -> Iterator[Iterator[dict[str, Any]]]:
    """Open a job's events; what comes out has the SSE id beside the event."""
    with server.client.stream(
        "GET", f"{JOBS}/{job_id}/events", params={"stream": "true"}, headers=headers
    ) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield _events(answer)


def _events(answer: httpx2.Response) -> Iterator[dict[str, Any]]:
    last = None
    for line in answer.iter_lines():
        if line.startswith("id: "):
            last = line.removeprefix("id: ")
        elif line.startswith("data: {"):
            yield json.loads(line.removeprefix("data: ")) | {"sse_id": last}


def test_events_come_as_they_happen_and_resume_where_they_broke(server: Served) -> None:
    job = server.job()
    with stream(server, job["id"]) as events:
        first = next(events)
        assert first["seq"] == 1
        server.work(at_most=1)
        seen = [first] + [next(events) for _ in range(3)]
        assert [event["seq"] for event in seen] == [1, 2, 3, 4]
    server.work()
    with stream(server, job["id"], **{"Last-Event-ID": seen[-1]["sse_id"]}) as events:
        rest = list(events)  # ends by itself, with the job
    assert [event["seq"] for event in rest] == list(range(5, 5 + len(rest)))
    assert rest[-1]["data"]["state"] == "succeeded"
    assert all(event["sse_id"] == event["id"] for event in seen + rest)


def test_an_unknown_last_event_is_refused(server: Served) -> None:
    job = server.job()
    answer = server.client.get(
        f"{JOBS}/{job['id']}/events", params={"stream": "true"}, headers={"Last-Event-ID": "evt-nothing"}
    )
    assert answer.status_code in (404, 422)
    server.work()


def test_many_streams_hold_no_connection_and_block_nobody(server: Served) -> None:
    job = server.job()
    opened = [stream(server, job["id"]) for _ in range(30)]
    entered = [each.__enter__() for each in opened]
    try:
        assert all(next(events)["seq"] == 1 for events in entered)
        began = time.monotonic()
        assert server.client.get("/v1/models").status_code == 200
        assert time.monotonic() - began < 20
    finally:
        for each in opened:
            each.__exit__(None, None, None)
    server.client.post(f"{JOBS}/{job['id']}/cancel")


def test_memory_stays_small_whatever_is_uploaded(server: Served) -> None:
    before = server.counts()["objects"]

    def body(size: int) -> Iterator[bytes]:
        yield b'--B\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n'
        yield b'--B\r\nContent-Disposition: form-data; name="file"; filename="a.zip"\r\n\r\n'
        for _ in range(size >> 20):
            yield bytes(1 << 20)
        yield b"\r\n--B--\r\n"

    size = 200 << 20
    made = server.client.post(
        "/v1/files", content=body(size), headers={"Content-Type": "multipart/form-data; boundary=B"}
    )
    assert made.status_code == 200, made.text
    assert made.json()["bytes"] == size
    told = subprocess.check_output(["ps", "-o", "rss=", "-p", str(server.process.pid)], text=True)
    assert int(told) * 1024 < 250 << 20
    maps = Path(f"/proc/{server.process.pid}/maps")
    assert not maps.exists() or "torch" not in maps.read_text()
    server.client.delete(f"/v1/files/{made.json()['id']}")
    server.store.delete(next(key for key in server.store.list("files/") if made.json()["id"] in key))
    assert server.counts()["objects"] == before


def test_an_upload_that_breaks_off_leaves_nothing(server: Served) -> None:
    before = server.counts()
    files = files_below(server.settings.state / "objects")

    def body() -> Iterator[bytes]:
        yield b'--B\r\nContent-Disposition: form-data; name="file"; filename="a.zip"\r\n\r\n'
        yield bytes(1 << 20)
        raise ConnectionAbortedError

    with pytest.raises(ConnectionAbortedError):
        server.client.post(
            "/v1/files", content=body(), headers={"Content-Type": "multipart/form-data; boundary=B"}
        )
    deadline = time.monotonic() + 60  # the server hears of it after the client
    while server.counts() != before or files_below(server.settings.state / "objects") != files:
        assert time.monotonic() < deadline, "something of it stays"
        time.sleep(0.05)


def files_below(folder: Path) -> set[Path]:
    """Return all files in the store's folder, also those that are no objects yet. A bucket has none here."""
    return {Path(at, name) for at, _, names in os.walk(folder) for name in names}


def test_the_log_tells_each_request_once_and_no_secret(server: Served) -> None:
    link = "/v1/objects/x?expires=1&signature=tellnobody"
    request_id = server.client.get(link).headers["x-request-id"]
    deadline = time.monotonic() + 10
    while request_id not in (text := server.log.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)  # the line is written after the answer
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    [line] = [each for each in lines if each.get("request_id") == request_id]
    assert (line["path"], line["route"], line["status"]) == ("/v1/objects/x", "/v1/objects/{key}", 404)
    assert "tellnobody" not in text
    assert server.secret not in text


def test_it_stops_at_once_although_somebody_listens(home: Path, urls: dict[str, str]) -> None:
    with server_in(settings_in(home, **urls)) as served:
        job = served.job()
        heard, ended = threading.Event(), threading.Event()

        def listen() -> None:
            with stream(served, job["id"]) as events:
                for _ in events:
                    heard.set()
            ended.set()

        thread = threading.Thread(target=listen)
        thread.start()
        assert heard.wait(30)
        served.process.send_signal(signal.SIGTERM)
        served.process.wait(30)  # without our handler it would wait for the stream, and that for the job
        thread.join(30)
        assert ended.is_set()
