"""A newcomer by the dashboard alone, on real workers and the real engine: from a key to a picture."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.api.platform import Served, server_in
from tests.browser.conftest import looking
from tests.browser.pictures import cut, drop, zipped
from tests.worker.platform import platform

pytestmark = pytest.mark.timeout(600)  # processes that import torch, on whatever machine
MINUTES = 240_000.0
SETTINGS = {"steps": "6", "batch_size": "2", "learning_rate": "0.001", "eval_samples": "1", "eval_steps": "1"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A platform with everything that `spindle up` starts."""
    with (
        platform(tmp_path_factory.mktemp("newcomer"), requests_per_minute="0") as made,
        server_in(made.settings) as served,
    ):
        for role in ("beat", "units", "serve"):
            made.start(role)
        yield served


def test_from_the_key_to_a_picture_by_the_new_model(browser: Browser, site: Served) -> None:
    with looking(browser, site, signed_in=False) as looker:
        tab = looker.tab()
        tab.goto("/")
        tab.get_by_label("Key").fill(site.secret)
        tab.get_by_role("button", name="Sign in").click()
        tab.get_by_role("link", name="Bring pictures").first.click()
        _bring(tab)
        tab.get_by_role("link", name="New job").first.click()
        job = _start(tab)

        other = looker.tab()  # somebody looks on, and the first looks again
        other.goto(job)
        tab.reload()
        for each in (tab, other):
            expect(each.locator("#state .badge")).to_have_text("succeeded", timeout=MINUTES)
        expect(tab.locator("#strip img").first).to_be_visible()
        other.close()

        tab.get_by_role("link", name="Draw with it").click()
        tab.get_by_label("Prompt", exact=True).fill("red apple")
        tab.get_by_label("Steps").fill("2")
        tab.get_by_role("button", name="Draw", exact=True).click()
        picture = tab.locator("#stage img").first
        expect(picture).to_be_visible(timeout=MINUTES)
        expect(tab.locator("#history img").first).to_be_visible(timeout=MINUTES)
        assert picture.evaluate("each => each.naturalWidth") > 0
        tab.goto("/")
        expect(tab.get_by_role("heading", name="First steps")).to_be_hidden()


def _bring(tab: Page) -> None:
    """Drop an archive and name it; its rows are checked by a worker."""
    tab.wait_for_url("**/datasets")
    drop(tab, [("emoji.zip", zipped(cut(6)))])
    tab.get_by_role("button", name="Make the dataset").click()
    tab.wait_for_url("**/datasets/ds-*", timeout=MINUTES)
    expect(tab.locator("#gallery img").first).to_be_visible(timeout=MINUTES)


def _start(tab: Page) -> str:
    """Start a job on the dataset, with an error at a field on the way; return its page's address."""
    tab.get_by_label("Start from").select_option("tiny")
    tab.get_by_label("Method", exact=True).select_option("sft")
    for name, value in SETTINGS.items():
        field = tab.locator(f"#f-{name}")
        if not field.is_visible():
            tab.get_by_text("More settings").click()
        field.fill(value)
    tab.get_by_role("button", name="Start the job").click()
    tab.wait_for_url("**/jobs/ftjob-*", timeout=MINUTES)
    return tab.url
