"""What a client can rely on, on every route: once is once, tags, request ids, limits, a full reference."""

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import httpx2
import jsonschema
import pytest
from sqlalchemy import func, select, update
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from api.middleware import RequestLimits
from core.db import transaction
from core.models import Dataset, Drawing, DrawingState, Idempotency
from tests.api.conftest import settings_in
from tests.api.platform import Running, platform_in
from tests.api.test_images import FOX, PATH, serving
from tests.api.walk import Operation, Walk, body_of, document, operations

BEFORE = {"resume": "pause"}  # what has to be done to a thing before that can be
SENDS = "/v1/webhook_endpoints/{endpoint_id}/test"  # outside, so in tests/api/test_webhooks.py
TOLD_ONCE = {"key": None, "signing_secret": None}


def post(walk: Walk, operation: Operation, key: str) -> httpx2.Response:
    return walk.platform.client.post(
        operation.at(walk.ids), headers={"Idempotency-Key": key}, **body_of(operation, walk.ids)
    )


def let_all_be_drawn(platform: Running) -> None:
    """Wait for the pictures that nobody else waits for."""
    while True:
        with transaction(platform.database) as session:
            open_ = (Drawing.state == DrawingState.pending) | (Drawing.state == DrawingState.running)
            if session.scalar(select(func.count()).where(open_)) == 0:
                return
        time.sleep(0.01)


def test_every_post_is_done_once_under_its_key(platform: Running) -> None:
    walk = Walk(platform)
    posts = [each for each in walk.found if each.verb == "POST" and each.path != SENDS]
    assert len(posts) >= 9
    with serving(platform):
        for number, operation in enumerate(posts):
            key, action = f"key-{number}", operation.path.rpartition("/")[2]
            if "{job_id}" in operation.path:
                walk.ids["job_id"] = platform.job(training_file=walk.ids["dataset_id"])["id"]
            if "{upload_id}" in operation.path:
                walk.begin_upload()
            if action in BEFORE:
                path = operation.at(walk.ids).removesuffix(action) + BEFORE[action]
                assert platform.client.post(path).status_code == 200
            first = post(walk, operation, key)
            assert first.status_code == 200, (operation.name, first.text)
            let_all_be_drawn(platform)
            before = platform.counts()
            again = post(walk, operation, key)
            assert again.headers.get("idempotent-replayed") == "true", operation.name
            assert again.json() | TOLD_ONCE == first.json() | TOLD_ONCE, operation.name
            other = platform.client.post("/v1/keys", json={"name": key}, headers={"Idempotency-Key": key})
            assert other.json()["error"]["code"] == "idempotency_key_reused", operation.name
            with transaction(platform.database) as session:
                session.execute(update(Idempotency).where(Idempotency.key == key).values(status=None))
            running = post(walk, operation, key)
            assert (running.status_code, running.json()["error"]["code"]) == (409, "idempotency_in_progress")
            assert platform.counts() == before, operation.name


def test_of_many_at_once_one_is_done_and_all_get_its_answer(platform: Running) -> None:
    body = {"name": "pictures", "file": platform.upload()}
    answers: list[httpx2.Response] = []
    start = threading.Barrier(6)

    def ask() -> None:
        start.wait()
        answers.append(platform.client.post("/v1/datasets", json=body, headers={"Idempotency-Key": "k"}))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [each.status_code for each in answers] == [200] * 6
    assert all(each.json() == answers[0].json() for each in answers)
    with transaction(platform.database) as session:
        assert session.scalar(select(func.count()).select_from(Dataset)) == 1


def test_who_has_it_already_is_told_so(embedded: Running) -> None:
    job = embedded.job()
    path = f"/v1/fine_tuning/jobs/{job['id']}"
    first = embedded.client.get(path)
    assert first.headers["cache-control"] == "private, no-cache"
    tag = first.headers["etag"]
    for known in (tag, f'"other", W/{tag}', "*"):
        again = embedded.client.get(path, headers={"If-None-Match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        assert "content-length" not in again.headers
    embedded.client.post(f"{path}/cancel")
    changed = embedded.client.get(path, headers={"If-None-Match": tag})
    assert (changed.status_code, changed.json()["status"]) == (200, "cancelled")
    assert changed.headers["etag"] != tag


@pytest.mark.parametrize("path", ["/v1/files/file-none", "/livez", "/metrics", "/docs"])
def test_what_is_not_json_or_not_there_has_no_tag(embedded: Running, path: str) -> None:
    assert "etag" not in embedded.client.get(path).headers


def test_the_reference_is_read_once(embedded: Running) -> None:
    tag = embedded.client.get("/openapi.json").headers["etag"]
    assert embedded.client.get("/openapi.json", headers={"If-None-Match": tag}).status_code == 304


def test_the_request_id_reaches_who_draws(platform: Running) -> None:
    with serving(platform) as served:
        platform.client.post(PATH, json=FOX, headers={"X-Request-Id": "mine-7"})
    assert (served[0].origin or {})["request_id"] == "mine-7"


def test_pages_of_other_sites_may_not_call_unless_set(home: Path) -> None:
    page = {"Origin": "https://studio.example"}
    preflight = page | {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,idempotency-key",
    }
    for origins, allowed in (("", False), ("https://a.example,https://studio.example", True)):
        with platform_in(settings_in(home, cors_origins=origins)) as running:
            asked = running.client.options("/v1/files", headers=preflight)
            answered = running.client.get("/v1/files", headers=page)
            stranger = running.client.get("/v1/files", headers={"Origin": "https://b.example"})
            refused = running.client.get("/v1/files", headers=page | {"Authorization": ""})
        assert (asked.status_code == 200) == allowed
        expected = "https://studio.example" if allowed else None
        for answer in (asked, answered, refused):
            assert answer.headers.get("access-control-allow-origin") == expected
        assert "access-control-allow-origin" not in stranger.headers
        assert "access-control-allow-credentials" not in answered.headers
        assert ("ratelimit" in answered.headers.get("access-control-expose-headers", "").lower()) == allowed


def test_what_no_database_can_keep_is_refused(platform: Running) -> None:
    """Numbers, texts and depths that some part behind the API chokes on."""
    job, huge = platform.job(), 10**30
    before = platform.counts()
    told = {"Content-Type": "application/json"}
    hyper = b'{"model":"tiny","training_file":"x","method":{"type":"spin","spin":{"hyperparameters":%s}}}'
    asked: list[tuple[str, str, bytes | None, dict[str, Any]]] = [
        ("GET", f"/v1/fine_tuning/jobs/{job['id']}/metrics?after={huge}", None, {}),
        ("GET", f"/v1/fine_tuning/jobs/{job['id']}/metrics?after={2**63}", None, {}),
        ("GET", f"/v1/fine_tuning/jobs/{job['id']}/samples?iteration={huge}", None, {}),
        ("GET", f"/v1/datasets/{job['training_file']}/rows?after={huge}", None, {}),
        ("GET", f"/v1/objects/x?expires={huge}&signature=x", None, {}),
        ("GET", "/v1/files/%00", None, {}),
        ("GET", "/v1/files/%ff", None, {}),
        ("GET", "/v1/files?after=%00", None, {}),
        ("GET", "/v1/audit?key_id=%00", None, {}),
        ("GET", "/v1/models", None, {b"Authorization": b"Bearer \xff\xfe"}),  # type: ignore[dict-item]
        ("POST", "/v1/keys", b'{"name":"\\ud800"}', told),
        ("POST", "/v1/keys", b'{"name":"a","scopes":' + b"[" * 900 + b"]" * 900 + b"}", told),
        ("POST", "/v1/keys", b'{"name":' + b"[" * 100_000 + b"]" * 100_000 + b"}", told),
        ("POST", "/v1/keys", b'{"name":"a","expires_at":1e400}', told),
        ("POST", "/v1/keys", b'{"name":"a","expires_at":NaN}', told),
        ("POST", "/v1/fine_tuning/jobs", hyper % b'{"learning_rate":1e400}', told),
        ("POST", "/v1/fine_tuning/jobs", hyper % b'{"learning_rate":NaN}', told),
        ("POST", "/v1/fine_tuning/jobs", hyper % b'{"\\u0000":1}', told),
    ]
    for verb, path, body, headers in asked:
        answer = platform.client.request(verb, path, content=body, headers=headers)
        assert answer.status_code < 500, (path, body, answer.text)
    assert platform.counts() == before


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"X-Padding": "x" * (33 << 10)}, 431),
        ({f"X-Line-{n}": "x" for n in range(101)}, 431),
        ({f"X-Line-{n}": "x" for n in range(50)}, 200),
        ({"Content-Length": "9" * 12}, 413),
    ],
)
def test_the_head_of_a_request_is_bounded(embedded: Running, headers: dict[str, str], status: int) -> None:
    answer = embedded.client.get("/v1/files", headers=headers)
    assert answer.status_code == status
    if status != 200:
        assert answer.headers["content-type"] == "application/problem+json"


def test_a_body_that_stops_coming_is_given_up() -> None:
    """What is awaited after the body, that the client goes away, may take as long as it likes."""

    async def read(request: Request) -> PlainTextResponse:
        await request.body()
        return PlainTextResponse("read")

    app = RequestLimits(
        Starlette(routes=[Route("/", read, methods=["POST"])]), limit_for=lambda _: 10, idle_seconds=0.05
    )
    sent: list[Any] = []

    async def ask(parts: list[dict[str, Any]]) -> None:
        async def receive() -> dict[str, Any]:
            if parts:
                return parts.pop(0)
            await asyncio.sleep(0.2)
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": "/", "headers": [], "query_string": b""}
        await app(scope, receive, send)

    asyncio.run(ask([{"type": "http.request", "body": b"half", "more_body": True}]))
    asyncio.run(ask([{"type": "http.request", "body": b"whole", "more_body": False}]))
    asyncio.run(ask([{"type": "http.request", "body": b"more than ten", "more_body": False}]))
    assert [each["status"] for each in sent if "status" in each] == [408, 200, 413]


def test_the_reference_is_complete(embedded: Running) -> None:
    components = {"components": document(embedded.client)["components"]}
    for operation in operations(embedded.client, prefix="/"):
        told = operation.told
        assert told["summary"], operation.name
        assert told["description"], operation.name
        assert told["tags"], operation.name
        assert {"422", "431", "503"} <= set(told["responses"]) or operation.scope is None, operation.name
        assert operation.scope is None or {"401", "403", "429"} <= set(told["responses"]), operation.name
        assert "{" not in operation.path or "404" in told["responses"] or operation.scope is None
        for kind, media in told.get("requestBody", {}).get("content", {}).items():
            assert "example" in media, operation.name
            if kind == "application/json":
                jsonschema.Draft202012Validator(media["schema"] | components).validate(media["example"])


def test_every_field_that_is_sent_is_described(embedded: Running) -> None:
    """What a name does not say, a description does: fields of bodies have one, or a name that is enough."""
    schemas = document(embedded.client)["components"]["schemas"]
    enough = {"model", "prompt", "negative_prompt", "response_format", "metadata", "name"}
    bare = {
        f"{model}.{name}"
        for model in (
            "KeyCreate",
            "KeyRotate",
            "JobCreate",
            "ImageCreate",
            "DatasetCreate",
            "UploadCreate",
            "EndpointCreate",
            "ComparisonCreate",
            "BallotCreate",
            "VoteCreate",
            "PairsCreate",
        )
        for name, each in schemas[model]["properties"].items()
        if not each.get("description") and name not in enough
    }
    assert bare == set()


def test_the_reference_for_people_can_be_used_by_hand(embedded: Running) -> None:
    page = embedded.client.get("/docs", headers={"Authorization": ""})
    found = operations(embedded.client)
    for operation in found:
        assert f'data-method="{operation.verb}" data-path="{operation.path}"' in page.text
        assert f"curl -X {operation.verb}" in page.text
    assert page.text.count("<form") == len(found) + 3  # and /livez, /readyz, /metrics
    assert "training pipeline" in page.text  # the example of a body
    assert "script-src 'self'" in page.headers["content-security-policy"]
    script = embedded.client.get("/docs.js", headers={"Authorization": ""})
    assert script.headers["content-type"].startswith("text/javascript")
    assert "fetch(" in script.text
