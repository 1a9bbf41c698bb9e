"""Project, keys, webhooks, audit, queue and workers in a real browser."""

import re

import httpx
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import select

from core import keys, projects
from core.db import transaction
from core.keys import DEFAULT_PROJECT
from core.models import DeliveryState, WebhookAttempt, WebhookDelivery
from core.webhooks.events import EventType, emit, sample_of
from tests.api.platform import Served
from tests.browser.conftest import Looker, looking, shoot
from tests.browser.test_overview import begun_job, limited, workers_live


def opens(site: Served, secret: str) -> bool:
    """Tell whether a secret is good."""
    headers = {"Authorization": f"Bearer {secret}"}
    return httpx.get(f"{site.url}/v1/project", headers=headers).status_code == 200


def look_again(tab: Page) -> None:
    """Let the parts that live be fetched now, as after a change on the page."""
    tab.dispatch_event("body", "changed")


def secret_told(tab: Page) -> str:
    """Return the secret that is shown, and close its dialog."""
    expect(tab.locator("#told")).to_be_visible()
    secret = tab.locator("#secret").inner_text()
    with tab.expect_navigation():  # the page is made anew, with what was changed
        tab.get_by_role("button", name="I have kept it").press("Enter")
    expect(tab.locator("#told")).to_be_hidden()
    return secret


def test_a_key_is_made_rotated_and_revoked_and_another_tab_sees_it(looker: Looker, site: Served) -> None:
    tab, other = looker.tab(), looker.tab()
    tab.goto("/keys")
    tab.get_by_role("button", name="Make a key").press("Enter")
    looker.forgive("422")
    tab.get_by_role("button", name="Make the key").click()
    expect(tab.get_by_label("What it is for")).to_have_attribute("aria-invalid", "true")
    tab.get_by_label("What it is for").fill("pipeline")
    tab.get_by_label("Serve").uncheck()
    tab.get_by_label("Until when").select_option("30")
    tab.get_by_label("What it is for").press("Enter")
    made = secret_told(tab)
    row = tab.get_by_role("row", name="pipeline")
    expect(row).to_contain_text("read train")
    assert opens(site, made)
    assert made not in tab.content()
    row.get_by_role("button", name="Rotate").click()
    tab.get_by_label("The old secret works for").select_option("no longer")
    tab.locator("#rotate").get_by_role("button", name="Rotate").click()
    rotated = secret_told(tab)
    assert (opens(site, made), opens(site, rotated)) == (False, True)
    other.goto("/keys")
    expect(other.get_by_role("row", name="pipeline")).not_to_contain_text("revoked")
    tab.on("dialog", lambda dialog: dialog.accept())
    tab.get_by_role("row", name="pipeline").get_by_role("button", name="Revoke").click()
    expect(tab.locator("#toasts")).to_contain_text("pipeline is revoked.")
    expect(tab.get_by_role("row", name="pipeline")).to_contain_text("revoked")
    look_again(other)
    expect(other.get_by_role("row", name="pipeline")).to_contain_text("revoked")
    assert not opens(site, rotated)


def test_a_key_without_admin_is_told_so_and_offered_nothing(browser: Browser, site: Served) -> None:
    with transaction(site.database) as session:
        _, secret = keys.create_key(session, project_id=DEFAULT_PROJECT, name="looks", scopes=["read"])
    with looking(browser, site, signed_in=False) as looker:
        tab = looker.tab()
        tab.goto("/webhooks")
        tab.get_by_label("Key").fill(secret)
        tab.keyboard.press("Enter")
        tab.wait_for_url("**/webhooks")
        for page in ("/webhooks", "/keys", "/audit"):
            tab.goto(page)
            expect(tab.get_by_role("heading", name="For administrators")).to_be_visible()
        tab.goto("/datasets")
        expect(tab.get_by_text("may look, but not upload")).to_be_visible()
        expect(tab.locator("#drop")).to_have_count(0)


def test_a_browser_works_in_two_projects(tab: Page, site: Served) -> None:
    with transaction(site.database) as session:
        project = projects.create_project(session, name="studio two")
        _, secret = keys.create_key(session, project_id=project.id, name="second key")
    tab.goto("/project")
    tab.get_by_label("Key of the project").fill(secret)
    tab.keyboard.press("Enter")
    expect(tab.get_by_role("heading", name="studio two")).to_be_visible()
    tab.get_by_role("button", name="Switch to default").press("Enter")
    expect(tab.locator("h1")).to_have_text("default")
    tab.goto("/project")
    expect(tab.get_by_role("button", name="Switch to studio two")).to_be_visible()


def test_an_endpoint_is_added_fails_and_is_told_again(looker: Looker, site: Served) -> None:
    tab = looker.tab()
    tab.goto("/webhooks")
    tab.get_by_role("button", name="Add an endpoint").first.click()
    tab.get_by_label("What it is for").fill("ci")
    tab.get_by_label("Address").fill("ftp://example.com/")
    looker.forgive("422")
    tab.get_by_role("button", name="Add it").click()
    expect(tab.get_by_label("Address")).to_have_attribute("aria-invalid", "true")
    tab.get_by_label("Address").fill("https://example.com/hook")
    tab.get_by_label("fine_tuning.job.running").uncheck()
    tab.get_by_role("button", name="Add it").click()
    assert secret_told(tab).startswith("whsec_")
    tab.get_by_role("link", name="ci").click()
    with transaction(site.database) as session:
        event = EventType.job_succeeded
        emit(session, project_id=DEFAULT_PROJECT, event=event, data=sample_of(event))
    look_again(tab)
    expect(tab.locator("#log tbody tr")).to_contain_text("owed")
    with transaction(site.database) as session:
        delivery = session.scalars(select(WebhookDelivery)).one()
        attempt = {"began_at": delivery.created_at, "milliseconds": 12, "status": 500, "answer": "not today"}
        session.add(WebhookAttempt(id="wha-1", delivery_id=delivery.id, **attempt))
        delivery.state, delivery.finished_at = DeliveryState.failed, delivery.created_at
    look_again(tab)
    expect(tab.locator("#log tbody tr")).to_contain_text("failed")
    tab.get_by_text("1, last 500").click()
    expect(tab.locator("#log details")).to_contain_text("not today")
    tab.get_by_role("button", name="Send again").click()
    expect(tab.locator("#log tbody tr")).to_contain_text("owed")
    tab.on("dialog", lambda dialog: dialog.accept())
    tab.get_by_role("button", name="Disable").click()
    expect(tab.locator("#facts")).to_contain_text("Nothing is sent to it. It was disabled through the API.")
    tab.get_by_label("State").select_option("Failed")
    tab.get_by_role("button", name="Show").click()
    expect(tab.locator("#log tbody tr")).to_have_count(1)


def test_the_log_is_filtered_by_key_and_by_thing(tab: Page, site: Served) -> None:
    made = site.client.post("/v1/keys", json={"name": "logged"}).json()
    site.client.delete(f"/v1/keys/{made['id']}")
    tab.goto("/audit")
    tab.get_by_label("Thing").fill(made["id"])
    tab.get_by_role("button", name="Show").click()
    tab.wait_for_url(f"**of={made['id']}")
    rows = tab.locator("#entries tbody tr")
    expect(rows).to_have_text([re.compile("DELETE /v1/keys/"), re.compile("POST /v1/keys")])
    tab.get_by_label("Key").select_option("logged")
    tab.get_by_role("button", name="Show").click()
    expect(tab.get_by_role("heading", name="Nothing of that kind")).to_be_visible()


def test_the_queue_tells_who_works_and_who_waits(tab: Page, site: Served) -> None:
    workers_live(site)
    begun_job(site, "at-work")
    newest = site.client.get("/v1/datasets").json()["data"][0]["id"]
    site.job(training_file=newest, suffix="patient", queue="big", priority=5)
    tab.goto("/queue")
    expect(tab.locator("#work tbody tr")).to_contain_text("step 3 of 9 · about 40 s left")
    expect(tab.locator("#waits tbody tr")).to_contain_text("a worker on queue big")
    busy = tab.get_by_role("row", name="units-0@studio")
    expect(busy.last).to_contain_text("1 GPU, 25.8 GB")


def test_how_they_look(browser: Browser, site: Served) -> None:
    workers_live(site)
    body = {"name": "looks", "url": "https://example.com/looks", "event_types": ["fine_tuning.job.succeeded"]}
    made = site.client.post("/v1/webhook_endpoints", json=body)
    assert made.status_code == 200, made.text
    pages = (
        ("/queue", "queue"),
        ("/project", "project"),
        ("/keys", "keys"),
        ("/webhooks", "webhooks"),
        (f"/webhooks/{made.json()['id']}", "webhook"),
        ("/audit", "audit"),
    )
    with limited(site, max_jobs=4.0, max_bytes=1e6, max_running=2.0):
        for path, name in pages:
            shoot(browser, site, path, name)
