"""Models and registered names, in a real browser: found, promoted, moved, split, taken back, deleted."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.api.platform import Served
from tests.api.test_transfers import safetensors
from tests.browser.conftest import Looker, shoot
from tests.browser.stock import checkpoints_of, finished_job, register


@dataclass(frozen=True)
class Stock:
    """What there is to look at."""

    job: dict[str, Any]
    model: str
    checkpoints: list[str]


@pytest.fixture(scope="module")
def stock(site: Served) -> Stock:
    """A job with its result and checkpoints, and a name with two versions."""
    job = finished_job(site, suffix="emoji")
    checkpoints = checkpoints_of(site, job)
    register(site, "sticker", checkpoints[-1], alias="production", notes="The first that knows a cake.")
    register(site, "sticker", checkpoints[0], notes="Sharper.")
    body = {"description": "Emoji for stickers, on white."}
    assert site.client.patch("/v1/registry/sticker", json=body).status_code == 200
    return Stock(job, job["fine_tuned_model"], checkpoints)


def alias(site: Served, name: str, word: str) -> dict[str, Any]:
    """Return what an alias points at."""
    found = site.client.get(f"/v1/registry/{name}/aliases/{word}").json()
    return {"version": found["version"], "split": found["split"]}


def test_models_are_found_by_a_part_of_their_name_and_by_kind(tab: Page, stock: Stock) -> None:
    tab.goto("/models")
    expect(tab.get_by_role("link", name="sticker", exact=True)).to_be_visible()
    expect(tab.locator("#names .alias[href$='/sticker#alias-production']")).to_contain_text("production v1")
    tab.get_by_label("Search by name").fill("EMOJI")
    tab.keyboard.press("Enter")
    expect(tab.locator("#all tbody tr")).to_have_count(1)
    expect(tab.locator("#all tbody tr th")).to_have_text(stock.model)
    tab.get_by_label("Kind").select_option("base")
    tab.get_by_role("button", name="Show").click()
    expect(tab.locator("#all")).to_contain_text("Nothing of that name")
    tab.goto("/models?kind=base")
    expect(tab.locator("#all tbody th").first).to_have_text("tiny")


def test_a_result_is_promoted_in_one_dialog(looker: Looker, site: Served, stock: Stock) -> None:
    tab = looker.tab()
    looker.forgive("422")
    tab.goto(f"/models/{stock.model}")
    expect(tab.locator("#pictures figure")).to_have_count(4)
    expect(tab.locator("#metrics tbody tr")).to_contain_text("style")
    tab.get_by_role("button", name="Promote").press("Enter")
    dialog = tab.get_by_role("dialog", name="Promote")
    expect(dialog.get_by_label("Name")).to_have_value("emoji")
    dialog.get_by_label("Name").fill("portrait")
    dialog.get_by_label("Alias").fill("9 lives")
    dialog.get_by_role("button", name="Promote it").click()
    expect(dialog.get_by_label("Alias")).to_have_attribute("aria-invalid", "true")
    expect(dialog.get_by_label("Alias")).to_be_focused()
    dialog.get_by_label("Alias").fill("production")
    tab.keyboard.press("Enter")
    expect(tab).to_have_title("portrait · Spindle")
    expect(tab.get_by_text("It is promoted.")).to_be_visible()
    expect(tab.locator("#alias-production .points-at")).to_contain_text(stock.model)
    assert alias(site, "portrait", "production") == {"version": 1, "split": None}
    tab.goto(f"/models/{stock.model}")
    expect(tab.locator("#delete")).to_contain_text("It is kept because portrait@1 names it")


def test_an_alias_is_moved_split_and_taken_back(looker: Looker, site: Served, stock: Stock) -> None:
    tab, other = looker.tab(), looker.tab()
    looker.forgive("409")
    tab.goto("/models/names/sticker")
    other.goto("/models/names/sticker")
    card = tab.locator("#alias-production")
    expect(card).to_contain_text(stock.checkpoints[-1])
    card.get_by_role("button", name="Move or split").click()
    dialog = tab.get_by_role("dialog", name="Move production")
    dialog.get_by_label("Another version for a share").select_option("2")
    dialog.get_by_label("Its share, in percent").fill("25")
    expect(dialog.get_by_label("Share", exact=True)).to_have_value("25")
    dialog.get_by_role("button", name="Move it").click()
    expect(card.get_by_role("img")).to_have_attribute(
        "aria-label", "Version 1 gets 75.0\u202f%, version 2 25.0\u202f%"
    )
    assert alias(site, "sticker", "production") == {"version": 1, "split": {"version": 2, "share": 0.25}}
    card.get_by_role("button", name="Move or split").click()
    dialog.get_by_label("Version", exact=True).select_option("2")
    dialog.get_by_label("Another version for a share").select_option("")
    dialog.get_by_role("button", name="Move it").click()
    expect(card.locator(".points-at")).to_contain_text(stock.checkpoints[0])
    other.locator("#alias-production").get_by_role("button", name="Move or split").click()
    other.get_by_role("dialog").get_by_role("button", name="Move it").click()
    expect(other.get_by_role("dialog")).to_contain_text("points at version 2, but version 1 was expected")
    card.get_by_role("button", name="Roll back").click()
    expect(card.get_by_role("img")).to_be_visible()
    assert alias(site, "sticker", "production") == {"version": 1, "split": {"version": 2, "share": 0.25}}
    card.get_by_text("History").click()
    rows = card.locator("tbody tr")
    expect(rows).to_have_count(4)
    expect(rows.first).to_contain_text("first key")
    expect(rows.first).to_contain_text("rolled back")


def test_a_checkpoint_has_a_page_and_says_why_it_stays(tab: Page, stock: Stock) -> None:
    tab.goto(f"/models/{stock.checkpoints[-1]}")
    expect(tab.get_by_role("img", name="Lineage of")).to_be_visible()
    tab.get_by_text("As a list, with links").click()
    expect(tab.locator("#lineage").get_by_role("link", name="sticker@1")).to_be_visible()
    expect(tab.locator("#delete")).to_contain_text("A checkpoint goes with its job")


def test_a_download_is_made_and_fetched(looker: Looker, site: Served, stock: Stock) -> None:
    tab = looker.tab()
    looker.forgive("409")
    tab.goto(f"/models/{stock.model}")
    tab.get_by_role("button", name="Make it for ComfyUI").click()
    expect(tab.locator("#toasts .bad")).to_contain_text("has no LoRA")
    tab.get_by_role("button", name="Make it for diffusers", exact=True).click()
    expect(tab.locator("#downloads")).to_contain_text("being made")
    site.work()
    link = tab.get_by_role("link", name="Download for diffusers")
    expect(link).to_be_visible()
    with tab.expect_download() as download:
        link.click()
    assert download.value.suggested_filename.endswith(".zip")
    tab.get_by_text("Written from the facts").click()
    expect(tab.locator("#card")).to_contain_text("How to reproduce")


def test_a_lora_comes_in_from_a_file(looker: Looker, site: Served, tmp_path: Path) -> None:
    tab = looker.tab()
    looker.forgive("422")
    file = tmp_path / "fox hand.safetensors"
    file.write_bytes(safetensors())
    tab.goto("/models/imports/new")
    tab.get_by_role("button", name="Import it").click()
    expect(tab.locator("#f-file")).to_have_attribute("aria-invalid", "true")
    tab.locator("#f-file").set_input_files(file)
    expect(tab.get_by_label("Name")).to_have_value("fox-hand")
    tab.get_by_role("button", name="Import it").click()
    expect(tab.get_by_label("Base model")).to_have_attribute("aria-invalid", "true")
    tab.get_by_label("Base model").select_option("tiny")
    tab.get_by_label("Licence").fill("mit")
    tab.get_by_role("button", name="Import it").click()
    expect(tab).to_have_title("Models · Spindle")
    expect(tab.locator("#imports")).to_contain_text("being checked")
    site.work()
    tab.locator("#imports").get_by_role("link", name="fox-hand").click()
    expect(tab.locator("#facts")).to_contain_text("mit")


def test_a_model_that_nothing_names_can_be_deleted(tab: Page, site: Served, stock: Stock) -> None:
    job = site.job(suffix="unwanted", training_file=stock.job["training_file"])
    site.work()
    model = site.client.get(f"/v1/fine_tuning/jobs/{job['id']}").json()["fine_tuned_model"]
    tab.goto(f"/models/{model}")
    tab.once("dialog", lambda dialog: dialog.accept())
    tab.get_by_role("button", name="Delete this model").click()
    expect(tab).to_have_title("Models · Spindle")
    expect(tab.locator("#all")).not_to_contain_text(model)


def test_how_it_looks(browser: Browser, site: Served, stock: Stock) -> None:
    body = {"version": 2, "split": {"version": 1, "share": 0.1}}
    assert site.client.put("/v1/registry/sticker/aliases/staging", json=body).status_code == 200
    shoot(browser, site, "/models", "models")
    shoot(browser, site, f"/models/{stock.model}", "model")
    shoot(browser, site, "/models/names/sticker", "model-name")
    shoot(browser, site, "/models/imports/new", "model-import")
