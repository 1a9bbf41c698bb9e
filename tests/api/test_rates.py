"""What a key that asks too often is told, and that nobody else is."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from core import rates
from tests.api.conftest import settings_in
from tests.api.platform import Running, platform_in


@pytest.fixture
def limited(home: Path, urls: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    monkeypatch.setattr(rates, "REDIS_SECONDS", 30.0)  # a busy Redis may take its time: nobody counts alone
    with platform_in(settings_in(home, requests_per_minute=3, **urls)) as running:
        yield running


def test_answers_tell_how_the_key_stands_until_it_has_to_wait(limited: Running) -> None:
    answers = [
        limited.client.post("/v1/keys", json={"name": "counted once"}),
        *(limited.client.get("/v1/models") for _ in range(2)),
    ]
    assert [each.status_code for each in answers] == [200, 200, 200]
    assert {each.headers["ratelimit-policy"] for each in answers} == {'"key";q=3;w=60'}
    told = [dict(part.split("=") for part in each.headers["ratelimit"].split(";")[1:]) for each in answers]
    assert [each["r"] for each in told] == ["2", "1", "0"]
    assert all(0 < int(each["t"]) <= full for each, full in zip(told, (20, 40, 60), strict=True))
    before = limited.counts()
    answer = limited.client.post("/v1/keys", json={"name": "x"})
    assert answer.status_code == 429
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["error"]["type"] == "rate_limit_error"
    assert answer.json()["error"]["code"] == "rate_limit_exceeded"
    assert 1 <= int(answer.headers["retry-after"]) <= 20
    assert answer.headers["ratelimit"].startswith('"key";r=0;t=')
    assert "x-should-retry" not in answer.headers  # it is worth the wait
    assert limited.counts() == before


def test_another_key_is_not_concerned(limited: Running) -> None:
    other = limited.other_project()
    for _ in range(4):
        limited.client.get("/v1/models")
    assert limited.client.get("/v1/models").status_code == 429
    assert limited.client.get("/v1/models", headers=other).status_code == 200
    assert limited.client.get("/livez").status_code == 200


def test_processes_count_together_where_the_queue_is_shared(limited: Running) -> None:
    for _ in range(3):
        limited.client.get("/v1/models")
    with platform_in(limited.settings) as second:
        status = second.client.get("/v1/models").status_code
    assert status == (429 if limited.settings.broker_url.startswith("redis") else 200)


def test_no_limit_tells_nothing(home: Path) -> None:
    with platform_in(settings_in(home, requests_per_minute=0)) as running:
        assert "ratelimit" not in running.client.get("/v1/models").headers
