"""Webhook endpoints over HTTP: OpenAI's client manages them unchanged, a secret is told once."""

from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from standardwebhooks import Webhook

from core.clock import utcnow
from core.db import transaction
from core.keys import DEFAULT_PROJECT
from core.webhooks import sending
from core.webhooks.events import EventType, emit
from core.webhooks.post import Outcome
from tests.api.conftest import settings_in
from tests.api.platform import Running, Served, platform_in
from tests.spindle.scripted import Answer, scripted

ENDPOINTS = "/v1/webhook_endpoints"
BODY = {"name": "ci", "url": "https://example.com/hook"}


@pytest.fixture
def platform(home: Path, urls: dict[str, str]) -> Iterator[Running]:
    """An app of each profile that may send webhooks to this host."""
    with platform_in(settings_in(home, webhook_networks="127.0.0.0/8", **urls)) as running:
        yield running


def made(platform: Running, **more: object) -> dict[str, object]:
    answer = platform.client.post(ENDPOINTS, json=BODY | more)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_openais_client_manages_endpoints(server: Served) -> None:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=server.secret, max_retries=0) as client:
        endpoint = client.webhooks.create(
            name="ci", url="https://example.com/a", event_types=["fine_tuning.job.succeeded"]
        )
        assert (endpoint.object, endpoint.name, endpoint.event_types) == (
            "webhook_endpoint",
            "ci",
            ["fine_tuning.job.succeeded"],
        )
        assert endpoint.signing_secret.startswith("whsec_")
        assert client.webhooks.retrieve(endpoint.id).url == "https://example.com/a"
        changed = client.webhooks.update(endpoint.id, url="https://example.com/b")
        assert (changed.url, changed.name) == ("https://example.com/b", "ci")
        rotated = client.webhooks.rotate_secret(endpoint.id)
        assert rotated.signing_secret != endpoint.signing_secret
        assert rotated.signing_secret_hint == f"whsec_...{rotated.signing_secret.rstrip('=')[-4:]}"
        assert [each.id for each in client.webhooks.list()] == [endpoint.id]
        assert client.webhooks.event_types.list().data == [each.value for each in EventType]
        deleted = client.webhooks.delete(endpoint.id)
        assert (deleted.deleted, deleted.object) == (True, "webhook_endpoint.deleted")
        with pytest.raises(openai.NotFoundError):
            client.webhooks.retrieve(endpoint.id)


def test_a_secret_is_told_once_also_to_who_repeats_the_request(platform: Running) -> None:
    once = {"Idempotency-Key": "k"}
    first = platform.client.post(ENDPOINTS, json=BODY, headers=once).json()
    again = platform.client.post(ENDPOINTS, json=BODY, headers=once).json()
    assert (again["id"], again["signing_secret"]) == (first["id"], None)
    rotated = platform.client.post(
        f"{ENDPOINTS}/{first['id']}/rotate_secret", json={"keep_old_secret_active_for_24_hours": True}
    ).json()
    assert rotated["old_secret_until"] is not None
    for path in (ENDPOINTS, f"{ENDPOINTS}/{first['id']}"):
        text = platform.client.get(path).text
        assert first["signing_secret"] not in text
        assert rotated["signing_secret"] not in text


@pytest.mark.parametrize(
    "change",
    [
        {"url": "http://example.com/"},
        {"url": "https://169.254.169.254/"},
        {"url": "https://user:pw@example.com/"},
        {"url": "javascript:alert(1)"},
        {"event_types": []},
        {"event_types": ["fine_tuning.job.exploded"]},
        {"name": ""},
        {"secret": "whsec_mine"},
    ],
    ids=str,
)
def test_a_wrong_endpoint_is_refused_and_nothing_is_made(
    embedded: Running, change: dict[str, object]
) -> None:
    before = embedded.counts()
    answer = embedded.client.post(ENDPOINTS, json=BODY | change)
    assert answer.status_code == 422
    assert answer.json()["error"]["param"] in {next(iter(change)), f"{next(iter(change))}.0"}
    assert embedded.counts() == before


def test_a_test_is_sent_at_once_and_its_answer_told(platform: Running) -> None:
    with scripted(Answer(202, b""), Answer(500, b"")) as script:
        endpoint = made(platform, url=script.url)
        told = [
            platform.client.post(
                f"{ENDPOINTS}/{endpoint['id']}/test",
                json={"event_type": "dataset.ready"},
                headers={"Idempotency-Key": key},
            ).json()
            for key in ("one", "one", "two")
        ]
    assert [each["status_code"] for each in told] == [202, 202, 500]
    assert told[0]["object"] == "webhook_endpoint.test"
    event = Webhook(str(endpoint["signing_secret"])).verify(script.asked[0].body, script.asked[0].headers)
    assert (event["type"], event["data"]) == ("dataset.ready", {"id": "ds-sample", "status": "ready"})
    answer = platform.client.post(f"{ENDPOINTS}/{endpoint['id']}/test", json={"event_type": "dataset.ready"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "webhook_unreachable")


def fail_once(platform: Running) -> None:
    """Let something happen, and its delivery fail."""
    with transaction(platform.database) as session:
        emit(session, project_id=DEFAULT_PROJECT, event=EventType.dataset_ready, data={"id": "ds-1"})
    with transaction(platform.database) as session:
        claim = sending.claim_endpoint(session)
        assert claim is not None
        message = sending.next_message(session, claim)
        assert message is not None
        outcome = Outcome(utcnow(), 7, status=503, answer="later")
        sending.record(session, claim, message, outcome, jitter=0.0)
        sending.release(session, claim)


def test_the_log_tells_every_attempt_and_replays(platform: Running) -> None:
    endpoint = made(platform)
    fail_once(platform)
    path = f"{ENDPOINTS}/{endpoint['id']}/deliveries"
    [delivery] = platform.client.get(path, params={"status": "pending"}).json()["data"]
    assert (delivery["status"], delivery["event_type"]) == ("pending", "dataset.ready")
    assert delivery["next_attempt_at"] is not None
    [attempt] = delivery["attempts"]
    assert (attempt["status"], attempt["milliseconds"], attempt["response"]) == (503, 7, "later")
    assert platform.client.get(path, params={"status": "failed"}).json()["data"] == []
    platform.client.post(f"{ENDPOINTS}/{endpoint['id']}", json={"enabled": False})
    one = f"{path}/{delivery['id']}"
    assert platform.client.get(one).json()["status"] == "failed"
    refused = platform.client.post(f"{one}/replay")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "webhook_disabled")
    assert platform.client.post(f"{ENDPOINTS}/{endpoint['id']}", json={"enabled": True}).json()["enabled"]
    replayed = platform.client.post(f"{ENDPOINTS}/{endpoint['id']}/replay", json={"since": 0}).json()
    assert replayed["replayed"] == 1
    assert platform.client.post(f"{one}/replay").json()["status"] == "pending"


def test_another_projects_endpoints_do_not_exist(platform: Running) -> None:
    endpoint = made(platform)
    fail_once(platform)
    one = f"{ENDPOINTS}/{endpoint['id']}"
    delivery = platform.client.get(f"{one}/deliveries").json()["data"][0]["id"]
    before, other = platform.counts(), platform.other_project()
    before |= {"project": before["project"] + 1, "api_key": before["api_key"] + 1}
    for method, path, body in (
        ("GET", one, None),
        ("POST", one, {"enabled": False}),
        ("DELETE", one, None),
        ("POST", f"{one}/rotate_secret", {}),
        ("POST", f"{one}/test", {"event_type": "dataset.ready"}),
        ("POST", f"{one}/replay", {"since": 0}),
        ("GET", f"{one}/deliveries", None),
        ("GET", f"{one}/deliveries/{delivery}", None),
        ("POST", f"{one}/deliveries/{delivery}/replay", None),
    ):
        answer = platform.client.request(method, path, json=body, headers=other)
        assert answer.status_code == 404, (method, path)
    assert platform.client.get(ENDPOINTS, headers=other).json()["data"] == []
    assert platform.counts() == before


def test_endpoints_are_for_administrators(embedded: Running) -> None:
    key = embedded.client.post("/v1/keys", json={"name": "k", "scopes": ["read"]}).json()["key"]
    for method, path in (("GET", ENDPOINTS), ("POST", ENDPOINTS)):
        answer = embedded.client.request(
            method, path, json=BODY if method == "POST" else None, headers={"Authorization": f"Bearer {key}"}
        )
        assert answer.status_code == 403
