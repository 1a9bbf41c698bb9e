"""Pages of models, names and comparisons: whose they are, what they offer to whom, what they keep quiet."""

from typing import Any

import pytest

from core import keys
from core.db import transaction
from core.keys import DEFAULT_PROJECT
from tests.api.platform import Running
from tests.api.web.test_signing import PAGE, sign_in
from tests.comparing import draw_whole


def get(running: Running, path: str, status: int = 200) -> str:
    """Return the page at an address, as the browser that is signed in sees it."""
    answer = running.client.get(path, headers=PAGE)
    assert answer.status_code == status, f"{path}: {answer.status_code} {answer.text[:500]}"
    assert answer.headers["content-type"].startswith("text/html")
    return str(answer.text)


def stocked(running: Running) -> dict[str, Any]:
    """Make a result that is registered, and a comparison with it that is drawn; return their addresses."""
    job = running.job(suffix="fox")
    running.work()
    model = running.client.get(f"/v1/fine_tuning/jobs/{job['id']}").json()["fine_tuned_model"]
    body = {"model": model, "alias": "production", "create": True}
    assert running.client.post("/v1/registry/portrait/versions", json=body).status_code == 200
    asked = {"models": ["tiny", "portrait@production"], "prompts": ["a red fox"], "seeds": [1, 2]}
    comparison = running.client.post("/v1/comparisons", json=asked).json()["id"]
    draw_whole(running.database, running.store, comparison)
    return {"model": model, "comparison": comparison}


def test_of_another_project_there_is_no_page(platform: Running) -> None:
    made = stocked(platform)
    theirs = platform.other_project()["Authorization"].removeprefix("Bearer ")
    paths = [
        f"/models/{made['model']}",
        "/models/names/portrait",
        f"/comparisons/{made['comparison']}",
        f"/comparisons/{made['comparison']}/vote",
    ]
    sign_in(platform)
    for path in paths:
        get(platform, path)
    platform.client.cookies.clear()
    sign_in(platform, theirs)
    for path in paths:
        assert "portrait" not in get(platform, path, 404).replace("registered name portrait", "")
    for path in ("/models", "/comparisons", "/comparisons/new", "/playground"):
        assert made["model"] not in get(platform, path)


def test_a_key_that_may_only_read_is_offered_nothing_else(embedded: Running) -> None:
    made = stocked(embedded)
    with transaction(embedded.database) as session:
        _, secret = keys.create_key(session, project_id=DEFAULT_PROJECT, name="reader", scopes=["read"])
    sign_in(embedded, secret)
    paths = (
        "/models",
        f"/models/{made['model']}",
        "/models/names/portrait",
        "/comparisons",
        f"/comparisons/{made['comparison']}",
    )
    for path in paths:
        page = get(embedded, path)
        assert "data-call=" not in page, path
        assert "Import a model" not in page, path
    assert "has the scope <code>serve</code>" in get(embedded, "/playground")
    assert "has the scope <code>serve</code>" in get(embedded, f"/comparisons/{made['comparison']}/vote")
    assert "has the scope <code>train</code>" in get(embedded, "/comparisons/new")
    assert "has the scope <code>train</code>" in get(embedded, "/models/imports/new")


def test_a_key_that_may_not_read_opens_the_page_for_voting_alone(embedded: Running) -> None:
    made = stocked(embedded)
    with transaction(embedded.database) as session:
        _, secret = keys.create_key(session, project_id=DEFAULT_PROJECT, name="voter", scopes=["serve"])
        _, other = keys.create_key(session, project_id=DEFAULT_PROJECT, name="trainer", scopes=["train"])
    sign_in(embedded, secret)
    vote = f"/comparisons/{made['comparison']}/vote"
    assert made["model"] not in get(embedded, vote)
    for path in ("/", "/models", "/jobs", "/datasets", f"/comparisons/{made['comparison']}"):
        assert "may serve, but not read" in get(embedded, path, 403)
    sign_in(embedded, other)
    assert "neither read nor serve" in get(embedded, vote, 403)


def test_the_page_for_voting_names_no_model(embedded: Running) -> None:
    made = stocked(embedded)
    sign_in(embedded)
    page = get(embedded, f"/comparisons/{made['comparison']}/vote")
    for told in (made["model"], "portrait", "tiny", "a red fox"):
        assert told not in page
    assert 'data-pairs="2"' in page


@pytest.mark.parametrize(
    "path", ["/models/nothing", "/models/names/nothing", "/comparisons/cmp-nothing", "/models/ftckpt-nothing"]
)
def test_what_is_not_there_has_a_page_that_says_so(embedded: Running, path: str) -> None:
    sign_in(embedded)
    assert "Not Found" in get(embedded, path, 404)


def test_what_a_page_is_asked_for_is_shown_as_text(embedded: Running) -> None:
    sign_in(embedded)
    slipped = '"><script>alert(1)</script>'
    for path in (f"/models?q={slipped}", f"/playground?model={slipped}&prompt={slipped}&beside={slipped}"):
        assert "<script>alert" not in get(embedded, path)
    assert "<script>alert" not in get(embedded, f"/comparisons/new?models={slipped},{slipped}")
