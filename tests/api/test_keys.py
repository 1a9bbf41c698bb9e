"""Keys: told once, limited to their scopes and project, gone when revoked."""

import time
from datetime import timedelta

import pytest
from sqlalchemy import update

from core.clock import utcnow
from core.db import transaction
from core.models import ApiKey
from tests.api.platform import Running


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def test_a_new_key_works_until_it_is_revoked(platform: Running) -> None:
    made = platform.client.post("/v1/keys", json={"name": "laptop"}).json()
    assert (made["object"], made["name"], made["scopes"]) == ("api_key", "laptop", ["read", "train", "serve"])
    assert made["key"].startswith(made["prefix"])
    assert len(made["prefix"]) == 12
    assert platform.client.get("/v1/models", headers=bearer(made["key"])).status_code == 200
    listed = platform.client.get("/v1/keys").json()["data"]
    assert listed[0]["id"] == made["id"]
    assert all(each["key"] is None for each in listed)
    assert platform.client.delete(f"/v1/keys/{made['id']}").json()["deleted"] is True
    assert platform.client.get("/v1/models", headers=bearer(made["key"])).status_code == 401
    assert platform.client.get(f"/v1/keys/{made['id']}").json()["revoked_at"] is not None


def test_a_repeated_request_makes_one_key_and_does_not_tell_it_again(platform: Running) -> None:
    once = {"Idempotency-Key": "k"}
    first = platform.client.post("/v1/keys", json={"name": "ci"}, headers=once)
    again = platform.client.post("/v1/keys", json={"name": "ci"}, headers=once)
    assert again.json() == first.json() | {"key": None}
    assert first.json()["key"] is not None
    assert first.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("scopes", "allowed", "refused"),
    [
        (["read"], [("GET", "/v1/files")], [("POST", "/v1/datasets"), ("GET", "/v1/keys")]),
        (["read", "train"], [("GET", "/v1/jobs-are-404")], [("GET", "/v1/keys"), ("POST", "/v1/keys")]),
        (["train", "serve"], [], [("GET", "/v1/files"), ("GET", "/v1/audit")]),
        (["admin"], [("GET", "/v1/keys"), ("GET", "/v1/audit")], [("GET", "/v1/files")]),
    ],
)
def test_a_key_may_do_what_its_scopes_say(
    embedded: Running, scopes: list[str], allowed: list[tuple[str, str]], refused: list[tuple[str, str]]
) -> None:
    key = embedded.client.post("/v1/keys", json={"name": "k", "scopes": scopes}).json()["key"]
    before = embedded.counts()
    for method, path in allowed:
        assert embedded.client.request(method, path, headers=bearer(key)).status_code in (200, 404)
    for method, path in refused:
        body = {"name": "x", "file": "y"} if path == "/v1/datasets" else {"name": "x"}
        json = body if method == "POST" else None
        answer = embedded.client.request(method, path, json=json, headers=bearer(key))
        assert answer.status_code == 403, (method, path)
        assert answer.json()["error"]["code"] == "scope_missing"
    denied = {"audit_entry": before["audit_entry"] + len(refused)}
    assert embedded.counts() == before | denied


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer wrong", "Basic abc", "Bearer ü"])
def test_without_a_good_key_nothing_is_told(embedded: Running, header: str | None) -> None:
    before = embedded.counts()
    headers = {b"Authorization": b"" if header is None else header.encode()}
    for method, path in [("GET", "/v1/files"), ("POST", "/v1/files"), ("GET", "/v1/fine_tuning/jobs/x")]:
        answer = embedded.client.request(method, path, headers=headers)
        assert answer.status_code == 401, (method, path)
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.json()["error"]["type"] == "authentication_error"
    assert embedded.counts() == before


def test_another_projects_keys_do_not_exist(platform: Running) -> None:
    made = platform.client.post("/v1/keys", json={"name": "laptop"}).json()
    other = platform.other_project()
    assert platform.client.delete(f"/v1/keys/{made['id']}", headers=other).status_code == 404
    assert made["id"] not in [
        each["id"] for each in platform.client.get("/v1/keys", headers=other).json()["data"]
    ]
    assert platform.client.get("/v1/models", headers=bearer(made["key"])).status_code == 200


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"scopes": ["write"]}, "scopes.0"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["read", "read"]}, "scopes"),
        ({"expires_at": 1}, "expires_at"),
        ({"expires_at": 10**15}, "expires_at"),
        ({"name": ""}, "name"),
        ({"key": "spk-mine"}, "key"),
    ],
)
def test_a_key_that_cannot_be_is_refused(embedded: Running, change: dict[str, object], param: str) -> None:
    before = embedded.counts()
    answer = embedded.client.post("/v1/keys", json={"name": "k"} | change)
    assert (answer.status_code, answer.json()["error"]["param"]) == (422, param)
    assert embedded.counts() == before


def test_a_key_ends_when_it_says(embedded: Running) -> None:
    end = int(time.time()) + 3600
    made = embedded.client.post("/v1/keys", json={"name": "guest", "expires_at": end}).json()
    assert made["expires_at"] == end
    assert embedded.client.get("/v1/models", headers=bearer(made["key"])).status_code == 200
    with transaction(embedded.database) as session:
        past = utcnow() - timedelta(seconds=1)
        session.execute(update(ApiKey).where(ApiKey.id == made["id"]).values(expires_at=past))
    answer = embedded.client.get("/v1/models", headers=bearer(made["key"]))
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "expired_api_key")


def test_a_rotated_key_has_two_secrets_for_a_time(platform: Running) -> None:
    made = platform.client.post("/v1/keys", json={"name": "ci"}).json()
    once = {"Idempotency-Key": "r"}
    path = f"/v1/keys/{made['id']}/rotate"
    new = platform.client.post(path, json={"grace_seconds": 60}, headers=once).json()
    again = platform.client.post(path, json={"grace_seconds": 60}, headers=once).json()
    assert again == new | {"key": None}
    assert (new["id"], new["scopes"]) == (made["id"], made["scopes"])
    assert new["key"].startswith(new["prefix"])
    for secret, status in ((made["key"], 200), (new["key"], 200)):
        assert platform.client.get("/v1/models", headers=bearer(secret)).status_code == status
    newest = platform.client.post(path, json={"grace_seconds": 0}).json()
    for secret, status in ((made["key"], 401), (new["key"], 401), (newest["key"], 200)):
        assert platform.client.get("/v1/models", headers=bearer(secret)).status_code == status


def test_the_key_file_follows_the_first_key(embedded: Running) -> None:
    path = embedded.settings.state / "key"
    first = embedded.client.get("/v1/keys").json()["data"][-1]
    new = embedded.client.post(f"/v1/keys/{first['id']}/rotate").json()
    assert path.read_text().strip() == new["key"]
    assert path.stat().st_mode & 0o777 == 0o600
    other = embedded.client.post("/v1/keys", json={"name": "ci"}).json()
    embedded.client.post(f"/v1/keys/{other['id']}/rotate")
    assert path.read_text().strip() == new["key"]


def test_a_revoked_key_is_not_rotated(embedded: Running) -> None:
    made = embedded.client.post("/v1/keys", json={"name": "ci"}).json()
    embedded.client.delete(f"/v1/keys/{made['id']}")
    before = embedded.counts()
    answer = embedded.client.post(f"/v1/keys/{made['id']}/rotate")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "key_revoked")
    assert embedded.counts() == before


def test_the_last_use_is_told_to_the_minute(platform: Running) -> None:
    made = platform.client.post("/v1/keys", json={"name": "ci"}).json()
    assert made["last_used_at"] is None

    def last_use() -> int:
        return int(platform.client.get(f"/v1/keys/{made['id']}").json()["last_used_at"])

    platform.client.get("/v1/models", headers=bearer(made["key"]))
    first = last_use()
    assert abs(first - time.time()) < 30
    with transaction(platform.database) as session:
        early = utcnow() - timedelta(seconds=10)
        session.execute(update(ApiKey).where(ApiKey.id == made["id"]).values(last_used_at=early))
    platform.client.get("/v1/models", headers=bearer(made["key"]))
    assert last_use() == int(early.timestamp())
    with transaction(platform.database) as session:
        old = utcnow() - timedelta(seconds=90)
        session.execute(update(ApiKey).where(ApiKey.id == made["id"]).values(last_used_at=old))
    platform.client.get("/v1/models", headers=bearer(made["key"]))
    assert last_use() >= first
