"""The cookie of a signed-in browser: what it opens, what it does not, and who may use it."""

import httpx2
import pytest

from core import keys
from core.db import transaction
from tests.api.platform import Running
from tests.api.test_keys import bearer

ORIGIN = {"Origin": "http://testserver", "Authorization": ""}
PAGE = {"Accept": "text/html", "Authorization": ""}


def sign_in(running: Running, secret: str | None = None, **form: str) -> httpx2.Response:
    told = {"key": secret or running.secret} | form
    return running.client.post("/sign-in", data=told, headers=ORIGIN, follow_redirects=False)


def test_a_session_reads_and_changes_as_its_key_does(platform: Running) -> None:
    assert sign_in(platform).status_code == 303
    read = platform.client.get("/v1/models", headers={"Authorization": ""})
    assert [each["id"] for each in read.json()["data"]] == ["tiny", "starter"]
    made = platform.client.post("/v1/keys", json=LAPTOP, headers=ORIGIN)
    assert made.status_code == 200, made.text
    audit = platform.client.get("/v1/audit").json()["data"]
    assert [each["route"] for each in audit] == ["/v1/keys"]


LAPTOP = {"name": "laptop"}


@pytest.mark.parametrize("origin", [None, "https://evil.example", "null", "http://testserver.evil.example"])
def test_pages_of_other_sites_change_nothing(embedded: Running, origin: str | None) -> None:
    sign_in(embedded)
    before = embedded.counts()
    headers = {"Authorization": ""} | ({} if origin is None else {"Origin": origin})
    for method, path in (
        ("POST", "/v1/keys"),
        ("POST", "/switch"),
        ("POST", "/sign-out"),
        ("POST", "/sign-in"),
    ):
        answer = embedded.client.request(method, path, headers=headers, data={"project": "proj-default"})
        assert (path, answer.status_code) == (path, 403)
        assert answer.json()["error"]["code"] == "other_site"
    assert embedded.counts() == before


def test_behind_a_proxy_the_public_address_is_ours(embedded: Running) -> None:
    sign_in(embedded)
    headers = {"Authorization": "", "Origin": embedded.settings.public_url}
    assert embedded.client.post("/v1/keys", json=LAPTOP, headers=headers).status_code == 200


def test_the_cookie_is_out_of_reach_of_scripts_and_of_plain_http(embedded: Running) -> None:
    told = sign_in(embedded).headers["set-cookie"]
    assert "HttpOnly" in told
    assert "SameSite=lax" in told
    assert "Secure" not in told  # public_url is http here
    assert embedded.secret not in told


def test_a_page_without_a_session_leads_to_the_door_and_back(embedded: Running) -> None:
    asked = embedded.client.get("/?a=1&b=2", headers=PAGE, follow_redirects=False)
    assert (asked.status_code, asked.headers["location"]) == (303, "/sign-in?next=%2F%3Fa%3D1%26b%3D2")
    door = embedded.client.get(asked.headers["location"], headers=PAGE)
    assert 'name="next" value="/?a=1&amp;b=2"' in door.text
    assert sign_in(embedded, next="/?a=1&b=2").headers["location"] == "/?a=1&b=2"


@pytest.mark.parametrize(
    "onward",
    ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)", "/\nx", ""],
)
def test_signing_in_never_leads_elsewhere(embedded: Running, onward: str) -> None:
    assert sign_in(embedded, next=onward).headers["location"] == "/"


def test_a_wrong_key_is_told_and_opens_nothing(embedded: Running) -> None:
    answer = sign_in(embedded, secret="spk-nobody<script>")
    assert answer.status_code == 401
    assert "this key is not known" in answer.text
    assert "<script>" not in answer.text.partition("</head>")[2]
    assert "set-cookie" not in answer.headers
    assert embedded.counts()["web_session"] == 0


def test_a_key_in_a_header_opens_no_page(embedded: Running) -> None:
    answer = embedded.client.get("/", headers={"Accept": "text/html"}, follow_redirects=False)
    assert answer.status_code == 303


def test_scopes_hold_for_a_session_too(embedded: Running) -> None:
    with transaction(embedded.database) as session:
        _, secret = keys.create_key(session, project_id=keys.DEFAULT_PROJECT, name="reader", scopes=["read"])
    sign_in(embedded, secret)
    assert embedded.client.get("/v1/keys", headers={"Authorization": ""}).status_code == 403
    page = embedded.client.get("/", headers=PAGE).text
    assert "/jobs/new" not in page
    assert 'href="/keys"' not in page


def test_one_browser_works_in_two_projects(embedded: Running) -> None:
    other = embedded.other_project()["Authorization"].removeprefix("Bearer ")
    sign_in(embedded)
    sign_in(embedded, other)
    assert "<strong>other</strong>" in embedded.client.get("/", headers=PAGE).text
    moved = embedded.client.post(
        "/switch", data={"project": keys.DEFAULT_PROJECT}, headers=ORIGIN, follow_redirects=False
    )
    assert (moved.status_code, moved.headers["location"]) == (303, "/")
    assert "<strong>default</strong>" in embedded.client.get("/", headers=PAGE).text
    sign_in(embedded)  # again in the same project: the session before ends
    assert embedded.counts()["web_session"] == 2
    nowhere = embedded.client.post(
        "/switch", data={"project": "proj-none"}, headers=ORIGIN, follow_redirects=False
    )
    assert nowhere.headers["location"] == "/sign-in"
    embedded.client.post("/sign-out", headers=ORIGIN)
    assert embedded.counts()["web_session"] == 0
    assert embedded.client.get("/v1/models", headers={"Authorization": ""}).status_code == 401


def test_a_key_in_a_header_is_preferred_to_the_cookie(embedded: Running) -> None:
    sign_in(embedded)
    answer = embedded.client.get("/v1/models", headers=bearer("spk-nobody"))
    assert answer.status_code == 401


def test_pages_forbid_what_is_not_ours(embedded: Running) -> None:
    sign_in(embedded)
    headers = embedded.client.get("/", headers=PAGE).headers
    policy = headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert f"img-src 'self' blob: data: {embedded.settings.public_url}" in policy
    assert headers["x-content-type-options"] == "nosniff"


def test_files_of_the_pages_are_kept_as_long_as_they_are_the_same(embedded: Running) -> None:
    door = embedded.client.get("/sign-in", headers=PAGE).text
    address = door.partition('rel="stylesheet" href="')[2].partition('"')[0]
    answer = embedded.client.get(address)
    assert answer.headers["content-type"].startswith("text/css")
    assert "immutable" in answer.headers["cache-control"]
    old = embedded.client.get("/static/0/style.css")
    assert (old.status_code, old.headers["cache-control"]) == (200, "no-cache")
    assert embedded.client.get("/static/0/pages.py").status_code == 404
