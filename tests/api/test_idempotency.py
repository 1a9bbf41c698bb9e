"""A POST under an Idempotency-Key happens once, for every resource."""

from typing import Any

import pytest
from sqlalchemy import update

from core.db import transaction
from core.models import Idempotency
from tests.api.platform import Running

KEY = {"Idempotency-Key": "one"}


def test_the_first_answer_comes_again_and_nothing_is_made_twice(platform: Running) -> None:
    dataset = platform.dataset()
    body = {"model": "tiny", "training_file": dataset, "method": {"type": "spin"}}
    first = platform.client.post("/v1/fine_tuning/jobs", json=body, headers=KEY)
    before = platform.counts()
    reordered = dict(reversed(body.items()))
    again = platform.client.post("/v1/fine_tuning/jobs", json=reordered, headers=KEY)
    assert (again.status_code, again.json()) == (200, first.json())
    assert (first.headers.get("idempotent-replayed"), again.headers["idempotent-replayed"]) == (None, "true")
    assert platform.counts() == before


@pytest.mark.parametrize(
    ("path", "change"),
    [("/v1/fine_tuning/jobs", {"seed": 1}), ("/v1/datasets", {})],
    ids=["another body", "another address"],
)
def test_the_same_key_for_something_else_is_refused(
    platform: Running, path: str, change: dict[str, Any]
) -> None:
    file_id = platform.upload()
    body = {"model": "tiny", "training_file": file_id, "method": {"type": "spin"}}
    assert platform.client.post("/v1/fine_tuning/jobs", json=body, headers=KEY).status_code == 200
    before = platform.counts()
    other = {"name": "x", "file": file_id} if path == "/v1/datasets" else body | change
    answer = platform.client.post(path, json=other, headers=KEY)
    assert answer.status_code == 422
    assert answer.json()["error"]["code"] == "idempotency_key_reused"
    assert platform.counts() == before


def test_while_the_first_runs_the_second_is_told_to_wait(platform: Running) -> None:
    body = {"name": "x", "file": platform.upload()}
    assert platform.client.post("/v1/datasets", json=body, headers=KEY).status_code == 200
    with transaction(platform.database) as session:
        session.execute(update(Idempotency).values(status=None))
    before = platform.counts()
    answer = platform.client.post("/v1/datasets", json=body, headers=KEY)
    assert answer.status_code == 409
    assert answer.json()["error"]["code"] == "idempotency_in_progress"
    assert answer.headers.get("x-should-retry") is None
    assert platform.counts() == before


def test_a_refused_request_can_be_mended_under_its_key(platform: Running) -> None:
    file_id = platform.upload()
    wrong = platform.client.post("/v1/datasets", json={"name": "x", "file": "file-no"}, headers=KEY)
    assert wrong.status_code == 422
    good = platform.client.post("/v1/datasets", json={"name": "x", "file": file_id}, headers=KEY)
    assert good.status_code == 200


def test_two_projects_may_choose_the_same_key(platform: Running) -> None:
    first = platform.client.post("/v1/keys", json={"name": "a"}, headers=KEY)
    second = platform.client.post("/v1/keys", json={"name": "b"}, headers=platform.other_project() | KEY)
    assert (first.status_code, second.status_code) == (200, 200)
    assert first.json()["id"] != second.json()["id"]


def test_a_key_that_is_too_long_is_refused(platform: Running) -> None:
    before = platform.counts()
    answer = platform.client.post("/v1/keys", json={"name": "a"}, headers={"Idempotency-Key": "x" * 201})
    assert answer.status_code == 422
    assert platform.counts() == before
