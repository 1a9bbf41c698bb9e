"""Nobody without a key, nobody without the scope, nobody from another project: on every route there is."""

from typing import Any

import pytest

from core import keys
from core.db import transaction
from tests.api.platform import Running
from tests.api.walk import MADE_UP, Operation, Walk, body_of, operations

WITHOUT_KEY = {"/livez", "/readyz", "/metrics", "/v1/objects/{key}"}


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def test_nothing_opens_without_a_key(embedded: Running) -> None:
    """There is no mode without keys: only health, the reference and signed links are for everybody."""
    before = embedded.counts()
    found = operations(embedded.client, prefix="/")
    assert {each.path for each in found if each.scope is None} == WITHOUT_KEY
    for operation in found:
        if operation.scope is None:
            continue
        for header in ("", "Bearer spk-unknown", "Basic abc"):
            answer = embedded.client.request(
                operation.verb, operation.at({}), headers={"Authorization": header}, **body_of(operation, {})
            )
            assert answer.status_code == 401, (operation.name, header)
            assert answer.headers["www-authenticate"] == "Bearer"
    assert embedded.counts() == before


@pytest.fixture
def secrets(embedded: Running) -> dict[str, str]:
    """One key for each scope."""
    with transaction(embedded.database) as session:
        return {
            scope: keys.create_key(session, project_id=keys.DEFAULT_PROJECT, name=scope, scopes=[scope])[1]
            for scope in keys.SCOPES
        }


def test_every_route_wants_the_one_scope_it_tells(embedded: Running, secrets: dict[str, str]) -> None:
    found = [each for each in operations(embedded.client) if each.scope is not None]
    assert {each.scope for each in found} == set(keys.SCOPES)
    for operation in found:
        for scope, secret in secrets.items():
            # Without a body: who may not ask is told so first, who may has nothing made.
            answer = embedded.client.request(operation.verb, operation.at({}), headers=bearer(secret))
            assert (answer.status_code == 403) == (scope != operation.scope), (operation.name, scope)
            assert answer.status_code not in (401, 500), (operation.name, scope)


def ask(platform: Running, operation: Operation, ids: dict[str, str], headers: dict[str, str]) -> Any:
    return platform.client.request(
        operation.verb, operation.at(ids), headers=headers, **body_of(operation, ids)
    )


def test_what_is_another_projects_does_not_exist(platform: Running) -> None:
    """A stranger with every scope and the right ids is told what he is told of ids that never were."""
    walk = Walk(platform)
    strange = platform.other_project()
    before = platform.counts()
    for operation in walk.found:
        if operation.scope is None:
            continue
        if "{" in operation.path:
            is_told_nothing(walk, operation, strange)
        elif operation.verb == "GET":
            lists_nothing(walk, operation, strange)
        elif MADE_UP in str(body_of(operation, {}).get("json", "")):
            may_use_nothing(walk, operation, strange)
    draws_nothing(walk, strange)
    assert platform.counts() == before


def is_told_nothing(walk: Walk, operation: Operation, strange: dict[str, str]) -> None:
    real = ask(walk.platform, operation, walk.ids, strange)
    made_up = ask(walk.platform, operation, dict.fromkeys(walk.ids, MADE_UP), strange)
    assert (real.status_code, made_up.status_code) == (404, 404), operation.name
    told = real.text
    for each in walk.ids.values():
        told = told.replace(each, MADE_UP)
    assert told == made_up.text, operation.name


def lists_nothing(walk: Walk, operation: Operation, strange: dict[str, str]) -> None:
    answer = ask(walk.platform, operation, walk.ids, strange)
    assert answer.status_code == 200, operation.name
    assert not any(each in answer.text for each in walk.ids.values()), operation.name


def may_use_nothing(walk: Walk, operation: Operation, strange: dict[str, str]) -> None:
    answer = ask(walk.platform, operation, walk.ids, strange)
    assert answer.status_code in (404, 422), operation.name
    assert answer.json()["error"]["param"] is not None, operation.name


def draws_nothing(walk: Walk, strange: dict[str, str]) -> None:
    for model in (walk.ids["model_id"], MADE_UP):
        body = {"model": model, "prompt": "x"}
        answer = walk.platform.client.post("/v1/images/generations", json=body, headers=strange)
        assert answer.status_code == 404
