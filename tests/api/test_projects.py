"""The caller's project over HTTP, the operator's command, and what a limit answers."""

from typing import Any

import httpx
import pytest

from core import projects
from core.db import transaction
from core.keys import DEFAULT_PROJECT
from core.models import Project
from spindle.errors import ApiError
from spindle.transport import Transport
from tests.api.platform import Running, archive

JOBS = "/v1/fine_tuning/jobs"


def limit(platform: Running, **limits: float | None) -> None:
    with transaction(platform.database) as session:
        projects.set_limits(session, project_id=DEFAULT_PROJECT, limits=limits)


def test_a_project_tells_its_limits_and_what_it_uses(platform: Running) -> None:
    platform.job(device="gpu")
    limit(platform, max_running=4, max_jobs=2, gpu_seconds_limit=3600.0, max_bytes=10**10)
    told = platform.client.get("/v1/project").json()
    assert told.pop("created_at") > 0
    assert told == {
        "id": DEFAULT_PROJECT,
        "object": "project",
        "name": "default",
        "max_running": 4,
        "max_jobs": 2,
        "open_jobs": 1,
        "gpu_seconds_limit": 3600.0,
        "gpu_seconds_reserved": 5.0,
        "gpu_seconds_used": 0.0,
        "max_bytes": 10**10,
        "stored_bytes": len(archive()),
    }
    other = platform.client.get("/v1/project", headers=platform.other_project()).json()
    assert (other["id"], other["open_jobs"]) == ("proj-other", 0)


@pytest.mark.parametrize(
    ("limits", "code"),
    [({"max_jobs": 0}, "too_many_jobs"), ({"gpu_seconds_limit": 4.0}, "gpu_seconds_exceeded")],
)
def test_a_limit_answers_429_and_nothing_is_made(
    platform: Running, limits: dict[str, float], code: str
) -> None:
    body = {
        "model": "tiny",
        "training_file": platform.dataset(),
        "method": {"type": "spin"},
        "device": "gpu",
    }
    limit(platform, **limits)
    before = platform.counts()
    answer = platform.client.post(JOBS, json=body)
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "60"
    assert answer.headers["x-should-retry"] == "false"
    error = answer.json()["error"]
    assert (error["type"], error["code"]) == ("rate_limit_error", code)
    assert platform.counts() == before
    limit(platform, max_jobs=None, gpu_seconds_limit=5.0)
    assert platform.client.post(JOBS, json=body).status_code == 200


def test_our_client_does_not_wait_for_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    tried: list[httpx.Request] = []
    transport = Transport("http://127.0.0.1:1", None, sleep=waited.append)

    def refuse(request: httpx.Request) -> httpx.Response:
        tried.append(request)
        return httpx.Response(429, headers={"Retry-After": "60", "x-should-retry": "false"}, json={})

    monkeypatch.setattr(
        transport, "_http", httpx.Client(base_url="http://x", transport=httpx.MockTransport(refuse))
    )
    with pytest.raises(ApiError):
        transport.request("POST", "/v1/fine_tuning/jobs", body={})
    assert (len(tried), waited) == (1, [])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("priority", 101),
        ("priority", -101),
        ("priority", 1.5),
        ("queue", "Big"),
        ("queue", ""),
        ("device", "tpu"),
    ],
)
def test_what_a_job_asks_of_the_queue_is_checked(platform: Running, field: str, value: Any) -> None:
    body = {"model": "tiny", "training_file": "ds-1", "method": {"type": "spin"}, field: value}
    answer = platform.client.post(JOBS, json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (422, field)


def test_a_job_tells_queue_device_and_the_worker_it_lacks(platform: Running) -> None:
    job = platform.job(queue="big", device="gpu", priority=100)
    assert (job["queue"], job["device"], job["priority"]) == ("big", "gpu", 100)
    assert job["waits_for"] == "a worker with a GPU on queue big"
    assert (job["queue_position"], job["estimated_start"]) == (1, None)


def test_the_operators_command(
    platform: Running, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("state", "database_url", "store_url", "broker_url"):
        monkeypatch.setenv(f"SPINDLE_{name.upper()}", str(getattr(platform.settings, name)))
    assert projects.main(["create", "team a"]) == 0
    project_id, secret = capsys.readouterr().out.split()
    mine = {"Authorization": f"Bearer {secret}"}
    assert platform.client.get("/v1/project", headers=mine).json()["name"] == "team a"
    assert projects.main(["limit", project_id, "--jobs", "2", "--gpu-seconds", "7200"]) == 0
    assert capsys.readouterr().out == (
        f"{project_id}  team a  max_jobs 2, gpu_seconds_limit 7200  0 open jobs  0 used, 0 reserved  "
        "0 bytes stored\n"
    )
    assert projects.main(["limit", project_id, "--gpu-seconds", "none", "--running", "1"]) == 0
    with transaction(platform.database) as session:
        row = session.get_one(Project, project_id)
        assert (row.max_running, row.max_jobs, row.gpu_seconds_limit) == (1, 2, None)
    capsys.readouterr()
    assert projects.main(["limit", project_id, "--bytes", "10000000000"]) == 0
    assert "max_bytes 10000000000" in capsys.readouterr().out
    assert projects.main(["list"]) == 0
    assert [line.split("  ")[1] for line in capsys.readouterr().out.splitlines()] == ["default", "team a"]
    assert projects.main(["limit", "proj-none", "--jobs", "1"]) == 1
    assert capsys.readouterr().err == "there is no project proj-none\n"
    assert projects.main(["limit", project_id, "--jobs", "-1"]) == 1
    assert capsys.readouterr().err == "max_jobs must be 0 or more, not -1\n"
