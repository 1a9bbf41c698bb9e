"""The playground, in a real browser: pictures on their way, a queue, two models with one seed."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import select

from core.db import transaction
from core.models import Drawing, DrawingState
from tests.api.conftest import copied, settings_in
from tests.api.platform import Served, server_in
from tests.browser.conftest import NARROW, Looker, accessible, looking, picture, shoot, until
from tests.browser.drawer import drawing_at
from tests.browser.stock import finished_job, register

QUEUE = 12


@pytest.fixture(scope="module")
def site(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server with a short queue, a result and a registered name."""
    home = copied(prepared, tmp_path_factory.mktemp("playground"))
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("SPINDLE_MAX_WAITING_PICTURES", str(QUEUE))
        with server_in(settings_in(home, max_file_bytes=1 << 30, requests_per_minute=0)) as served:
            job = finished_job(served, suffix="emoji")
            register(served, "sticker", job["fine_tuned_model"], alias="production")
            yield served


def states(site: Served) -> list[DrawingState]:
    """Return how the drawings stand that somebody waits for."""
    with transaction(site.database) as session:
        return list(session.scalars(select(Drawing.state).where(~Drawing.background)))


def ask(tab: Page, prompt: str) -> None:
    """Write a prompt and send it by the keyboard."""
    tab.get_by_label("Prompt", exact=True).fill(prompt)
    tab.get_by_label("Prompt", exact=True).press("Control+Enter")


def test_a_picture_comes_out_of_the_noise_and_stays_in_the_history(tab: Page, site: Served) -> None:
    with drawing_at(site) as drawer:
        drawer.gate.clear()
        tab.goto("/playground?model=sticker@production")
        ask(tab, "birthday cake")
        stage = tab.get_by_role("region", name="Pictures")
        expect(stage).to_contain_text("A worker has begun.")
        drawer.gate.set()
        expect(stage.get_by_role("link", name="Download PNG")).to_be_visible()
        seed = tab.get_by_label("Seed", exact=True).input_value()
        expect(stage).to_contain_text(f"Seed {seed}")
        expect(tab.locator("#code-curl")).to_contain_text(f'"seed": {seed}')
        assert (drawer.served[-1].seeds, drawer.served[-1].partial_images) == ((int(seed),), 3)
        again = tab.locator("#history .again").first
        expect(again.get_by_role("img")).to_have_attribute("alt", "birthday cake")
        expect(tab.locator("#history")).to_contain_text(f"sticker@production · {seed}")
        with tab.expect_download() as download:
            stage.get_by_role("link", name="Download PNG").click()
        assert download.value.suggested_filename == f"sticker-production-{seed}.png"
        tab.get_by_role("button", name="Another seed").click()
        expect(stage.get_by_role("link", name="Download PNG")).to_be_visible()
        other = tab.get_by_label("Seed", exact=True).input_value()
        assert other != seed
        expect(tab.locator("#history")).to_contain_text(f"sticker@production · {other}")
        tab.locator("#history li", has_text=f"· {seed}").get_by_role("button").click()
        expect(tab.get_by_label("Seed", exact=True)).to_have_value(seed)


def test_the_same_can_be_asked_for_by_the_api(tab: Page) -> None:
    tab.goto("/playground?model=tiny&prompt=it's a fox")
    tab.get_by_label("Steps").fill("5")
    tab.get_by_role("button", name="Copy as curl or Python").click()
    expect(tab.locator("#code-curl")).to_contain_text("it'\\''s a fox")
    expect(tab.locator("#code-python")).to_contain_text('extra_body={"steps": 5, "guidance_scale": 7.5}')
    tab.keyboard.press("Escape")
    expect(tab.get_by_role("dialog")).to_be_hidden()


def test_without_a_worker_it_waits_in_plain_words_and_can_be_cancelled(tab: Page, site: Served) -> None:
    tab.goto("/playground?model=tiny")
    expect(tab.locator("#serving")).to_contain_text("No serving worker is running")
    ask(tab, "a red fox")
    expect(tab.locator("#stage")).to_contain_text("Next in the queue.")
    tab.get_by_role("button", name="Cancel").click()
    expect(tab.locator("#stage")).to_contain_text("Cancelled.")
    expect.soft(tab.get_by_role("button", name="Cancel")).to_be_hidden()
    until_none_is_open(tab, site)


def test_a_tab_that_is_closed_frees_its_place(looker: Looker, site: Served) -> None:
    tab = looker.tab()
    tab.goto("/playground?model=tiny")
    ask(tab, "a red fox")
    expect(tab.locator("#stage")).to_contain_text("Next in the queue.")
    other = looker.tab()
    other.goto("/playground?model=tiny")
    ask(other, "a red fox")
    expect(other.locator("#stage")).to_contain_text("Place 2 in the queue.")
    tab.close()
    expect(other.locator("#stage")).to_contain_text("Next in the queue.")
    other.close()
    until_none_is_open(looker.tab(), site)


def until_none_is_open(tab: Page, site: Served) -> None:
    """Wait until nothing is waited for any more."""
    until(tab, lambda: not {DrawingState.pending, DrawingState.running} & set(states(site)))


def test_a_full_queue_says_so_and_when_to_come_again(looker: Looker, site: Served) -> None:
    tab = looker.tab()
    looker.forgive("429")
    tab.goto("/playground?model=tiny&beside=sticker")
    tab.get_by_role("spinbutton", name="Pictures").fill("10")
    ask(tab, "a red fox")
    expect(tab.locator("#stage")).to_contain_text("The queue is full. Try again in")
    tab.get_by_role("button", name="Cancel").click()
    until_none_is_open(tab, site)


def test_what_is_wrong_stands_at_its_field(looker: Looker) -> None:
    tab = looker.tab()
    looker.forgive("422")
    tab.goto("/playground?model=tiny")
    tab.get_by_label("Steps").fill("0")
    tab.get_by_label("Size").fill("big")
    ask(tab, "a red fox")
    expect(tab.get_by_label("Steps")).to_have_attribute("aria-invalid", "true")
    expect(tab.get_by_label("Size")).to_have_attribute("aria-invalid", "true")
    expect(tab.get_by_label("Size")).to_be_focused()


def test_two_models_draw_the_same_seeds_and_become_a_blind_comparison(tab: Page, site: Served) -> None:
    with drawing_at(site) as drawer:
        tab.goto("/playground?model=tiny")
        tab.get_by_label("Two models side by side").check()
        tab.get_by_label("Beside it").select_option("sticker@production")
        ask(tab, "bell pepper")
        expect(tab.locator("#stage").get_by_role("link", name="Download PNG")).to_have_count(2)
        assert len({claim.seeds for claim in drawer.served[-2:]}) == 1
        tab.get_by_role("button", name="Make it a blind comparison").click()
        expect(tab).to_have_title("comparison · Spindle")


def test_how_it_looks(browser: Browser, site: Served) -> None:
    shoot(browser, site, "/playground?model=sticker@production", "playground-empty")
    with drawing_at(site) as drawer, looking(browser, site) as looker:
        tab = looker.tab()
        for prompt in ("birthday cake", "beer mug", "bell pepper", "beverage box"):
            tab.goto("/playground?model=sticker@production&beside=tiny")
            ask(tab, prompt)
            expect(tab.locator("#stage").get_by_role("link", name="Download PNG")).to_have_count(2)
        drawer.gate.clear()
        picture(tab, "playground-two-wide")
        tab.get_by_label("Two models side by side").uncheck()
        ask(tab, "birthday cake")
        expect(tab.locator("#stage")).to_contain_text("A worker has begun.")
        for _ in range(2):
            drawer.steps.release()
            tab.locator(".coming").wait_for()
        picture(tab, "playground-coming-wide")
        drawer.gate.set()
        expect(tab.locator("#stage").get_by_role("link", name="Download PNG")).to_have_count(1)
    with drawing_at(site), looking(browser, site, viewport=NARROW, color_scheme="dark") as looker:
        tab = looker.tab()
        tab.goto("/playground?model=sticker@production")
        ask(tab, "birthday cake")
        expect(tab.locator("#stage").get_by_role("link", name="Download PNG")).to_be_visible()
        picture(tab, "playground-narrow")
        tab.get_by_role("button", name="Copy as curl or Python").click()
        dialog = tab.get_by_role("dialog")
        assert dialog.evaluate("dialog => dialog.scrollWidth - dialog.clientWidth") == 0
        picture(tab, "playground-code-narrow", whole=False)
        accessible(tab)
