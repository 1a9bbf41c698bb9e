"""Every refusal is problem+json and OpenAI's error at once, and says what to do."""

from typing import Any

import pytest
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from tests.api.platform import Running


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/nothing", 404),
        ("GET", "/nothing", 404),
        ("PUT", "/v1/files", 405),
        ("GET", "/v1/files/file-x", 404),
        ("GET", "/v1/files?foo=1", 422),
        ("GET", "/v1/files/file-x?foo=1", 422),
        ("GET", "/v1/objects/files/x?expires=1&signature=x", 404),
        ("GET", "/v1/objects/%2e%2e/key?expires=1&signature=x", 404),
    ],
)
def test_every_error_has_both_shapes(platform: Running, method: str, path: str, status: int) -> None:
    answer = platform.client.request(method, path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    told = answer.json()
    assert (told["status"], told["type"]) == (status, "about:blank")
    assert told["title"]
    assert told["detail"] == told["error"]["message"]
    assert set(told["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"{broken", 400, "not JSON"),
        (b"[1]", 422, "JSON object"),
        (b"", 422, "JSON object"),
        (b'{"name": "x", "file": "y", "z": 1, "w": 2}', 422, "z: unknown field"),
        (b'{"name": NaN, "file": "y"}', 422, "name"),
        (b'{"name": "' + b"x" * (1 << 20) + b'"}', 413, "1048576 bytes"),
    ],
)
def test_a_body_that_cannot_be_used_is_told(platform: Running, body: bytes, status: int, words: str) -> None:
    before = platform.counts()
    answer = platform.client.post("/v1/datasets", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status
    assert words in answer.json()["error"]["message"]
    assert platform.counts() == before


def test_a_verb_that_is_not_there_is_told_which_are(embedded: Running) -> None:
    for path, allowed in (("/v1/files", "GET, POST"), ("/v1/files/file-x", "DELETE, GET"), ("/docs", "GET")):
        answer = embedded.client.patch(path)
        assert (answer.status_code, answer.headers["allow"]) == (405, allowed)


def test_several_wrong_fields_are_listed_together(platform: Running) -> None:
    told = platform.client.post("/v1/datasets", json={"nam": "x"}).json()
    assert {each["param"] for each in told["errors"]} == {"name", "file", "nam"}


def test_a_failed_commit_is_no_200(platform: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    file_id = platform.upload()
    before = platform.counts()

    commit = Session.commit

    def fail(session: Session) -> None:
        if session.info.get("doorbells"):
            raise OperationalError("COMMIT", {}, Exception("disk full"))
        commit(session)

    with monkeypatch.context() as patched:
        patched.setattr(Session, "commit", fail)
        answer = platform.client.post("/v1/datasets", json={"name": "x", "file": file_id})
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "database_unavailable"
    assert platform.counts() == before


def test_our_own_mistake_is_told_without_its_insides(
    platform: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("secret inside")

    monkeypatch.setattr("api.files.router.files.list_files", broken)
    answer = platform.client.get("/v1/files", headers={"X-Request-Id": "mine-1"})
    assert answer.status_code == 500
    assert "secret inside" not in answer.text
    assert answer.headers["x-request-id"] == "mine-1"
    assert answer.headers["content-type"] == "application/problem+json"


def test_every_answer_has_a_request_id_of_its_own_or_the_callers(platform: Running) -> None:
    given = platform.client.get("/v1/files", headers={"X-Request-Id": "mine-1"})
    assert given.headers["x-request-id"] == "mine-1"
    made = [platform.client.get(path, headers={"X-Request-Id": "bad id"}) for path in ("/v1/files", "/x")]
    ids = [answer.headers["x-request-id"] for answer in made]
    assert len(set(ids)) == 2
    assert all(each.startswith("req-") for each in ids)


def test_a_nul_byte_is_refused_everywhere(platform: Running) -> None:
    before = platform.counts()
    answer = platform.client.post("/v1/keys", json={"name": "a\0b"})
    assert answer.status_code == 422
    assert platform.counts() == before
