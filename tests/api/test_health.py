"""Whether it lives, whether it can work, what it measures, and what it tells of itself."""

import re
import shutil

from core import workers
from core.db import transaction
from spin_engine.config import HYPERPARAMETERS
from tests.api.platform import Running


def test_it_is_ready_once_a_worker_was_seen(platform: Running) -> None:
    assert platform.client.get("/livez").json() == {"status": "ok"}
    waiting = platform.client.get("/readyz")
    assert waiting.status_code == 503
    assert {name for name, state in waiting.json()["checks"].items() if state != "ok"} == {"workers"}
    with transaction(platform.database) as session:
        workers.heartbeat(session, name="w", kind="units")
    ready = platform.client.get("/readyz")
    assert (ready.status_code, ready.json()["status"]) == (200, "ok")


def test_a_store_that_is_gone_is_told_but_the_process_lives(embedded: Running) -> None:
    platform = embedded
    root = platform.settings.state / "objects"
    shutil.rmtree(root)
    root.write_text("a file where the folder was")
    answer = platform.client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["checks"]["store"] != "ok"
    assert platform.client.get("/livez").status_code == 200


def test_metrics_count_jobs_and_requests_by_route(platform: Running) -> None:
    job = platform.job()
    platform.client.get(f"/v1/fine_tuning/jobs/{job['id']}")
    text = platform.client.get("/metrics").text
    assert 'spindle_jobs{state="queued"} 1.0' in text
    assert 'route="/v1/fine_tuning/jobs/{job_id}",status="200"} 1.0' in text
    assert job["id"] not in text


def test_the_reference_needs_no_network_and_names_every_address(platform: Running) -> None:
    page = platform.client.get("/docs")
    assert page.status_code == 200
    assert re.findall(r"""(?:src|href|action)=["']?(?:https?:|//)|url\(|@import""", page.text) == []
    schema = platform.client.get("/openapi.json").json()
    for path in schema["paths"]:
        assert path in page.text
    for kind, fields in HYPERPARAMETERS.items():
        for name in [kind, *fields.model_fields]:
            assert name in page.text


def test_every_query_of_every_address_is_strict(platform: Running) -> None:
    schema = platform.client.get("/openapi.json").json()
    checked = 0
    for path, methods in schema["paths"].items():
        if not path.startswith("/v1/") or "get" not in methods:
            continue
        answer = platform.client.get(re.sub(r"\{\w+\}", "x", path), params={"surprise": "1"})
        assert answer.status_code == 422, path
        assert "surprise" in answer.json()["error"]["message"], path
        checked += 1
    assert checked >= 15
