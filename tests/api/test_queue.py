"""Workers and the queue over HTTP: one's own in full, everybody else's as numbers."""

from typing import Any

from core import workers
from core.db import transaction
from core.models import Device, UnitKind
from core.runs import claims, records
from core.runs.capabilities import Capabilities
from tests.api.platform import Running


def come(platform: Running, *names: str) -> None:
    """Let workers be there that do everything."""
    with transaction(platform.database) as session:
        for name in names:
            has = Capabilities(device=Device.gpu, gpus=1, memory_bytes=24)
            workers.heartbeat(session, name=name, kind="units", kinds=list(UnitKind), has=has)


def claim(platform: Running, worker: str) -> claims.Claim:
    """Let a worker take the next unit and tell how far it is."""
    with transaction(platform.database) as session:
        found = claims.claim_unit(session, worker=worker, lease_seconds=60)
        assert found is not None
        told = {"type": "progress", "step": 1, "of": 4, "what": "x", "seconds_left": 3.0}
        records.record_events(session, found, [told])
    return found


def strangers_work(platform: Running) -> dict[str, str]:
    """Let another project have a dataset, which is checked; return its key's header."""
    other = platform.other_project()
    files = {"file": ("secret-name.zip", b"PK")}
    told = {"purpose": "fine-tune"}
    file = platform.client.post("/v1/files", files=files, data=told, headers=other).json()["id"]
    body = {"name": "secret-name", "file": file}
    assert platform.client.post("/v1/datasets", json=body, headers=other).status_code == 200
    return other


def get(platform: Running, path: str, headers: dict[str, str] | None = None) -> dict[str, Any]:
    answer = platform.client.get(path, headers=headers or {})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_workers_are_told_with_what_they_do_for_whom_asks(platform: Running) -> None:
    job = platform.job(suffix="mine")
    come(platform, "units-0@a", "units-1@a")
    with transaction(platform.database) as session:
        workers.heartbeat(session, name="serve-0@a", kind="serve")
    held = claim(platform, "units-0@a")
    found = {each["id"]: each for each in get(platform, "/v1/workers")["data"]}
    assert list(found) == ["serve-0@a", "units-0@a", "units-1@a"]
    assert (found["serve-0@a"]["role"], found["serve-0@a"]["kinds"]) == ("serve", None)
    assert [found[name]["status"] for name in found] == ["idle", "busy", "idle"]
    busy = found["units-0@a"]
    assert (busy["device"], busy["gpus"], busy["memory_bytes"]) == ("gpu", 1, 24)
    assert (busy["queues"], len(busy["kinds"])) == (["default"], len(UnitKind))
    unit = busy["unit"]
    assert (unit["id"], unit["job"], unit["name"], unit["kind"]) == (
        held.unit_id,
        job["id"],
        "mine",
        "encode",
    )
    assert (unit["progress"]["step"], unit["progress"]["of"]) == (1, 4)
    first = get(platform, "/v1/workers?limit=1")
    assert (first["has_more"], first["last_id"]) == (True, "serve-0@a")
    rest = get(platform, "/v1/workers?after=serve-0@a")
    assert [each["id"] for each in rest["data"]] == ["units-0@a", "units-1@a"]
    assert platform.client.get("/v1/workers?after=nobody").status_code == 422


def test_nothing_of_another_project_is_told_but_that_somebody_works(platform: Running) -> None:
    other = strangers_work(platform)
    come(platform, "units-0@a")
    claim(platform, "units-0@a")
    [worker] = get(platform, "/v1/workers")["data"]
    assert (worker["status"], worker["unit"]) == ("busy", None)
    mine = get(platform, "/v1/queue")
    assert (mine["running"], mine["datasets"]) == ([], [])
    assert mine["other_projects"] == {"running": 1, "queued": 0}
    assert "secret-name" not in str(mine)
    theirs = get(platform, "/v1/queue", other)
    assert [each["name"] for each in theirs["running"]] == ["secret-name, version 1"]
    assert theirs["other_projects"] == {"running": 0, "queued": 0}


def test_the_queue_tells_place_start_and_what_is_missing(platform: Running) -> None:
    dataset = platform.dataset()
    jobs = [
        platform.job(training_file=dataset, suffix=suffix, priority=priority, **more)
        for suffix, priority, more in (("late", 0, {}), ("soon", 5, {}), ("lost", 0, {"queue": "big"}))
    ]
    waits = platform.job(training_file=platform.upload(), suffix="files")
    come(platform, "units-0@a")
    found = get(platform, "/v1/queue")
    assert [(each["name"], each["position"]) for each in found["queued"]] == [
        ("soon", 1),
        ("lost", 1),
        ("late", 2),
    ]
    assert found["queued_count"] == 3
    lacks = {each["name"]: each["waits_for"] for each in found["queued"]}
    assert lacks == {"soon": None, "lost": "a worker on queue big", "late": None}
    assert [(each["id"], each["status"]) for each in found["validating"]] == [
        (waits["id"], "validating_files")
    ]
    assert [each["id"] for each in found["datasets"]] == [waits["training_file"]]
    assert found["datasets_wait_for"] is None
    assert len(get(platform, "/v1/queue?limit=1")["queued"]) == 1
    claim(platform, "units-0@a")  # the dataset that is checked comes first
    claim(platform, "units-1@a")
    found = get(platform, "/v1/queue")
    assert [(each["dataset"], each["job"]) for each in found["running"]] == [
        (waits["training_file"], None),
        (None, jobs[1]["id"]),
    ]
    assert [each["name"] for each in found["queued"]] == ["late", "lost"]
    assert found["begun"] == []


def test_a_worker_that_fell_silent_does_nothing(embedded: Running) -> None:
    embedded.job()
    come(embedded, "units-0@a")
    claim(embedded, "units-0@a")
    with transaction(embedded.database) as session:
        session.connection().exec_driver_sql("UPDATE worker_node SET seen_at = '2026-01-01 00:00:00.000000'")
    [worker] = get(embedded, "/v1/workers")["data"]
    assert (worker["status"], worker["unit"]) == ("silent", None)


def test_without_a_worker_datasets_say_what_they_wait_for(embedded: Running) -> None:
    file = embedded.upload()
    embedded.client.post("/v1/datasets", json={"name": "a", "file": file})
    found = get(embedded, "/v1/queue")
    assert found["datasets_wait_for"] == "a worker on queue default"
    assert found["pictures"] == {"waiting": 0, "running": 0}


def test_models_that_come_and_go_wait_and_are_worked_on_by_name(embedded: Running) -> None:
    job = embedded.job()
    embedded.work()
    model = embedded.client.get(f"/v1/fine_tuning/jobs/{job['id']}").json()["fine_tuned_model"]
    made = embedded.client.post(f"/v1/models/{model}/exports", json={"format": "diffusers"})
    assert made.status_code < 300, made.text
    come(embedded, "units-0@a")
    [waiting] = get(embedded, "/v1/queue")["transfers"]
    assert (waiting["transfer"], waiting["name"], waiting["kind"]) == (made.json()["id"], model, "export")
    claim(embedded, "units-0@a")
    found = get(embedded, "/v1/queue")
    assert found["transfers"] == []
    assert [(each["kind"], each["name"]) for each in found["running"]] == [("export", model)]
    [worker] = get(embedded, "/v1/workers")["data"]
    assert worker["unit"]["transfer"] == made.json()["id"]
