"""Keys: told once, limited to their scopes and project, gone when revoked."""

import pytest

from tests.api.platform import Running


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def test_a_new_key_works_until_it_is_revoked(platform: Running) -> None:
    made = platform.client.post("/v1/keys", json={"name": "laptop"}).json()
    assert (made["object"], made["name"], made["scopes"]) == ("api_key", "laptop", ["read", "write"])
    assert platform.client.get("/v1/models", headers=bearer(made["key"])).status_code == 200
    listed = platform.client.get("/v1/keys").json()["data"]
    assert listed[0]["id"] == made["id"]
    assert all(each["key"] is None for each in listed)
    assert platform.client.delete(f"/v1/keys/{made['id']}").json()["deleted"] is True
    assert platform.client.get("/v1/models", headers=bearer(made["key"])).status_code == 401
    assert platform.client.get(f"/v1/keys/{made['id']}").json()["revoked_at"] is not None


def test_a_repeated_request_makes_one_key_and_does_not_tell_it_again(platform: Running) -> None:
    once = {"Idempotency-Key": "k"}
    first = platform.client.post("/v1/keys", json={"name": "ci"}, headers=once).json()
    again = platform.client.post("/v1/keys", json={"name": "ci"}, headers=once).json()
    assert again["id"] == first["id"]
    assert (bool(first["key"]), again["key"]) == (True, None)


@pytest.mark.parametrize(
    ("scopes", "allowed", "refused"),
    [
        (["read"], [("GET", "/v1/files")], [("POST", "/v1/datasets"), ("GET", "/v1/keys")]),
        (["read", "write"], [("GET", "/v1/jobs-are-404")], [("GET", "/v1/keys"), ("POST", "/v1/keys")]),
        (["write"], [], [("GET", "/v1/files")]),
        (["read", "write", "admin"], [("GET", "/v1/keys")], []),
    ],
)
def test_a_key_may_do_what_its_scopes_say(
    platform: Running, scopes: list[str], allowed: list[tuple[str, str]], refused: list[tuple[str, str]]
) -> None:
    key = platform.client.post("/v1/keys", json={"name": "k", "scopes": scopes}).json()["key"]
    before = platform.counts()
    for method, path in allowed:
        assert platform.client.request(method, path, headers=bearer(key)).status_code in (200, 404)
    for method, path in refused:
        body = {"name": "x", "file": "y"} if path == "/v1/datasets" else {"name": "x"}
        json = body if method == "POST" else None
        answer = platform.client.request(method, path, json=json, headers=bearer(key))
        assert answer.status_code == 403, (method, path)
        assert answer.json()["error"]["code"] == "scope_missing"
    assert platform.counts() == before


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer wrong", "Basic abc", "Bearer ü"])
def test_without_a_good_key_nothing_is_told(platform: Running, header: str | None) -> None:
    before = platform.counts()
    headers = {b"Authorization": b"" if header is None else header.encode()}
    for method, path in [("GET", "/v1/files"), ("POST", "/v1/files"), ("GET", "/v1/fine_tuning/jobs/x")]:
        answer = platform.client.request(method, path, headers=headers)
        assert answer.status_code == 401, (method, path)
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.json()["error"]["type"] == "authentication_error"
    assert platform.counts() == before


def test_another_projects_keys_do_not_exist(platform: Running) -> None:
    made = platform.client.post("/v1/keys", json={"name": "laptop"}).json()
    other = platform.other_project()
    assert platform.client.delete(f"/v1/keys/{made['id']}", headers=other).status_code == 404
    assert made["id"] not in [
        each["id"] for each in platform.client.get("/v1/keys", headers=other).json()["data"]
    ]
    assert platform.client.get("/v1/models", headers=bearer(made["key"])).status_code == 200
