"""The audit log over HTTP: every change is in it, with its request's id and without any secret."""

from dataclasses import replace
from typing import Any, cast

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from core.rates import OwnBuckets, Rate
from tests.api.platform import Running
from tests.api.walk import Walk, body_of, operations

AUDIT = "/v1/audit"


def log(platform: Running, **query: str | int) -> list[dict[str, Any]]:
    return list(platform.client.get(AUDIT, params={"limit": 100} | query).json()["data"])


def test_a_change_is_recorded_with_its_request(platform: Running) -> None:
    made = platform.client.post("/v1/keys", json={"name": "ci"}, headers={"X-Request-Id": "mine-1"}).json()
    platform.client.delete(f"/v1/keys/{made['id']}", headers={"X-Request-Id": "mine-2"})
    file_id = platform.upload()
    told = log(platform)
    assert [(each["method"], each["route"], each["object_id"], each["outcome"]) for each in told] == [
        ("POST", "/v1/files", file_id, "done"),
        ("DELETE", "/v1/keys/{key_id}", made["id"], "done"),
        ("POST", "/v1/keys", made["id"], "done"),
    ]
    assert [each["request_id"] for each in told[1:]] == ["mine-2", "mine-1"]
    assert len({each["key_id"] for each in told}) == 1
    assert made["key"] not in platform.client.get(AUDIT).text


def test_a_job_and_what_steers_it_are_recorded(embedded: Running) -> None:
    job = embedded.job()
    for action in ("pause", "resume", "cancel"):
        embedded.client.post(f"/v1/fine_tuning/jobs/{job['id']}/{action}")
    told = [each["route"].rpartition("/")[2] for each in log(embedded, object_id=job["id"])]
    assert told == ["cancel", "resume", "pause", "jobs"]


def test_what_was_not_done_is_not_recorded(embedded: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    embedded.client.get("/v1/models")
    embedded.client.post("/v1/keys", json={"name": ""})
    embedded.client.delete("/v1/files/file-none")
    assert log(embedded) == []
    commit = Session.commit

    def fail(session: Session) -> None:
        if session.info.pop("doorbells", None):
            raise OperationalError("COMMIT", {}, Exception("disk full"))
        commit(session)

    file_id = embedded.upload()
    with monkeypatch.context() as patched:
        patched.setattr(Session, "commit", fail)
        answer = embedded.client.post("/v1/datasets", json={"name": "x", "file": file_id})
    assert answer.status_code == 503
    assert [each["route"] for each in log(embedded)] == ["/v1/files"]


def test_a_repeated_request_is_recorded_once(embedded: Running) -> None:
    for _ in range(2):
        embedded.client.post("/v1/keys", json={"name": "ci"}, headers={"Idempotency-Key": "k"})
    assert [each["route"] for each in log(embedded)] == ["/v1/keys"]


def test_what_a_key_may_not_is_recorded_but_fills_nothing(embedded: Running) -> None:
    app = cast(FastAPI, cast(TestClient, embedded.client).app)
    app.state.platform = replace(app.state.platform, denials=OwnBuckets(Rate(2), clock=lambda: 0.0))
    made = embedded.client.post("/v1/keys", json={"name": "reader", "scopes": ["read"]}).json()
    reader = {"Authorization": f"Bearer {made['key']}"}
    for _ in range(4):
        assert embedded.client.delete(f"/v1/files/{made['key']}", headers=reader).status_code == 403
    told = log(embedded, key_id=made["id"])
    assert [(each["outcome"], each["object_id"], each["route"]) for each in told] == [
        ("denied", "***", "/v1/files/{file_id}")
    ] * 2


def test_pages_go_from_new_to_old(embedded: Running) -> None:
    made = [embedded.client.post("/v1/keys", json={"name": str(n)}).json()["id"] for n in range(3)]
    first = embedded.client.get(AUDIT, params={"limit": 2}).json()
    assert [each["object_id"] for each in first["data"]] == made[:0:-1]
    assert first["has_more"]
    second = embedded.client.get(AUDIT, params={"limit": 2, "after": first["last_id"]}).json()
    assert ([each["object_id"] for each in second["data"]], second["has_more"]) == (made[:1], False)


def test_no_change_has_a_way_around_the_log(embedded: Running) -> None:
    """What changes something takes `Once`, which records, or the session of the request, which does too."""
    changing = [each for each in operations(embedded.client) if each.verb != "GET" and each.scope]
    assert len(changing) > 8
    for operation in changing:
        if operation.verb == "POST":
            assert "idempotency-key" in operation.headers, operation.name


def test_what_is_changed_or_deleted_is_recorded_on_every_route(embedded: Running) -> None:
    walk = Walk(embedded)
    ids = walk.ids | {"dataset_id": embedded.dataset()}  # the walk's own is in use
    inner_first = sorted(walk.found, key=lambda each: -len(each.path))
    for operation in inner_first:
        if operation.verb in ("GET", "POST") or operation.scope is None:
            continue
        answer = embedded.client.request(operation.verb, operation.at(ids), **body_of(operation, ids))
        assert answer.status_code == 200, (operation.name, answer.text)
        newest = log(embedded, limit=1)[0]
        assert f"{newest['method']} {newest['route']}" == operation.name
        assert newest["object_id"] in {*ids.values(), "walk-name@1", "walk-name@walk-alias"}
