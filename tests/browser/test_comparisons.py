"""Blind comparisons, in a real browser: asked for, voted on by keyboard, told, and made into a dataset."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.api.platform import Served
from tests.browser.conftest import Looker, hold, let_through, looking, shoot, until
from tests.browser.drawer import drawing_at, emoji
from tests.browser.stock import checkpoints_of, finished_job, register

FEW = ("birthday cake", "bell pepper")


@pytest.fixture(scope="module")
def job(site: Served) -> dict[str, Any]:
    """A job that has ended, whose result is the first version of a name."""
    found = finished_job(site, suffix="emoji")
    register(site, "sticker", found["fine_tuned_model"], alias="production")
    return found


@pytest.fixture
def served(site: Served, job: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The job, while a worker draws."""
    with drawing_at(site):
        yield job


def compared(tab: Page, site: Served, **body: Any) -> dict[str, Any]:
    """Return a comparison whose pictures are all drawn, so that it is known how many pairs there are."""
    made = compare(site, **body)
    until(tab, lambda: site.client.get(f"/v1/comparisons/{made['id']}").json()["status"] == "ready")
    return made


def compare(site: Served, **body: Any) -> dict[str, Any]:
    """Return a comparison whose pictures are being drawn."""
    answer = site.client.post("/v1/comparisons", json=body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_two_models_are_compared_by_votes_that_become_a_dataset(
    looker: Looker, site: Served, served: dict[str, Any]
) -> None:
    tab = looker.tab()
    looker.forgive("422")
    tab.goto("/comparisons")
    tab.get_by_role("link", name="New comparison").first.click()
    tab.get_by_role("button", name="Draw the pictures").click()
    expect(tab.get_by_label("Model 1")).to_have_attribute("aria-invalid", "true")
    expect(tab.get_by_label("Model 1")).to_be_focused()
    tab.get_by_label("Model 1").select_option("tiny")
    tab.get_by_label("Model 2").select_option("sticker@production")
    tab.get_by_label("Prompts, one a line").fill("\n".join(FEW))
    tab.get_by_label("Seeds").fill("0, 1")
    expect(tab.locator("#sum")).to_have_text("8 pictures, 4 pairs to vote on")
    tab.get_by_role("button", name="Draw the pictures").press("Enter")
    expect(tab.get_by_role("heading", level=1)).to_have_text("comparison")
    expect(tab.locator("#state .badge")).to_have_text("ready")
    tab.get_by_role("link", name="Vote").click()
    expect(tab.locator("#count")).to_have_text("4 left")
    for unknown in (served["fine_tuned_model"], "sticker", "tiny"):
        assert unknown not in tab.content().replace(served["id"], "")
    tab.keyboard.press("1")
    expect(tab.locator("#count")).to_have_text("3 left")
    first = tab.locator("#left").get_attribute("src")
    tab.keyboard.press("ArrowRight")
    expect(tab.locator("#count")).to_have_text("2 left")
    tab.keyboard.press("u")
    expect(tab.locator("#count")).to_have_text("3 left")
    expect(tab.locator("#left")).to_have_attribute("src", first or "")
    for left in ("2 left", "1 left", ""):
        tab.keyboard.press("0" if left == "1 left" else "2")
        expect(tab.locator("#count")).to_have_text(left)
    expect(tab.locator("#told")).to_have_text("That was all. Thank you!")
    tab.keyboard.press("Enter")
    expect(tab.locator("#results")).to_contain_text("4")
    expect(tab.locator("#results .line")).to_have_count(3)
    tab.get_by_role("button", name="Make a dataset of the votes").click()
    tab.get_by_label("Name").fill("///")
    with tab.expect_response("**/datasets") as refused:
        tab.get_by_role("button", name="Make the dataset").click()
    assert refused.value.status == 422
    expect(tab.get_by_label("Name")).to_have_attribute("aria-invalid", "true")
    tab.get_by_label("Name").fill("preferred")
    tab.get_by_role("button", name="Make the dataset").click()
    expect(tab.locator("#datasets")).to_contain_text("preferred v1")
    site.work()
    link = tab.get_by_role("link", name="Train on it with DPO")
    expect(link).to_have_attribute("href", re.compile("method=dpo"))


def test_nothing_can_be_clicked_before_it_works(tab: Page) -> None:
    held = hold(tab, "**/comparisons.js")
    tab.goto("/comparisons/new", wait_until="commit")
    until(tab, lambda: held)
    draw = tab.locator("form button.primary")
    expect(draw).to_have_count(1)
    expect(draw).to_be_hidden()
    held[0].continue_()
    draw.click()
    expect(tab.get_by_label("Model 1")).to_have_attribute("aria-invalid", "true")
    expect(tab).to_have_url(re.compile("/comparisons/new$"))


def test_a_job_link_compares_an_iteration_with_the_one_before_it(tab: Page, served: dict[str, Any]) -> None:
    tab.goto(f"/comparisons/new?job={served['id']}&iteration=2")
    expect(tab.locator("form .notice")).to_contain_text("Iteration 2 of emoji against the one before it")
    tab.get_by_role("button", name="Draw the pictures").click()
    expect(tab.get_by_role("heading", level=1)).to_have_text("iteration 2 against iteration 1")
    expect(tab.locator("#state .badge")).to_have_text("ready")


@pytest.mark.usefixtures("served")
def test_who_votes_is_remembered_and_asked_only_once(looker: Looker, site: Served) -> None:
    tab = looker.tab()
    made = compared(tab, site, models=["tiny", "sticker"], prompts=list(FEW))
    tab.goto(f"/comparisons/{made['id']}/vote")
    tab.get_by_label("Voting as").fill("ada")
    tab.get_by_label("Voting as").press("Tab")
    expect(tab.locator("#count")).to_have_text("2 left")
    tab.get_by_role("button", name="Second 2").click()
    expect(tab.locator("#count")).to_have_text("1 left")
    tab.reload()
    expect(tab.get_by_label("Voting as")).to_have_value("ada")
    expect(tab.locator("#count")).to_have_text("1 left")
    tab.locator("#pick-left").click()
    expect(tab.locator("#told")).to_have_text("That was all. Thank you!")
    votes = site.client.get(f"/v1/comparisons/{made['id']}/votes").json()["data"]
    assert [vote["voter"] for vote in votes] == ["ada", "ada"]


@pytest.mark.usefixtures("served")
def test_what_was_asked_for_one_voter_is_not_shown_to_the_next(looker: Looker, site: Served) -> None:
    tab = looker.tab()
    made = compared(tab, site, models=["tiny", "sticker"], prompts=list(FEW))
    held = hold(tab, "**/ballots", first=2)
    tab.goto(f"/comparisons/{made['id']}/vote")
    until(tab, lambda: len(held) == 1)
    voter = tab.get_by_label("Voting as")
    voter.fill("ada")
    voter.press("Tab")
    until(tab, lambda: len(held) == 2)
    nobodys, adas = held
    adas.continue_()
    expect(tab.locator("#count")).to_have_text("2 left")
    let_through(nobodys)
    for left in ("1 left", ""):
        tab.locator("#pick-left").click()
        expect(tab.locator("#count")).to_have_text(left)
    votes = site.client.get(f"/v1/comparisons/{made['id']}/votes").json()["data"]
    assert [vote["voter"] for vote in votes] == ["ada", "ada"]


@pytest.mark.usefixtures("served")
def test_a_pair_that_was_anothers_is_not_there_to_be_clicked(looker: Looker, site: Served) -> None:
    tab = looker.tab()
    made = compared(tab, site, models=["tiny", "sticker"], prompts=list(FEW))
    tab.goto(f"/comparisons/{made['id']}/vote")
    expect(tab.locator("#count")).to_have_text("2 left")
    held = hold(tab, "**/ballots", first=1)
    tab.get_by_label("Voting as").fill("ada")
    tab.get_by_label("Voting as").press("Tab")
    until(tab, lambda: held)
    expect(tab.locator("#two")).to_be_hidden()
    expect(tab.locator("#count")).to_have_text("")
    held[0].continue_()
    expect(tab.locator("#count")).to_have_text("2 left")


@pytest.mark.usefixtures("served")
def test_what_is_left_is_not_counted_down_twice(looker: Looker, site: Served) -> None:
    tab = looker.tab()
    made = compared(tab, site, models=["tiny", "sticker"], prompts=list(FEW), seeds=[0, 1])
    votes, ballots = hold(tab, "**/votes"), hold(tab, "**/ballots", first=2)
    tab.goto(f"/comparisons/{made['id']}/vote")
    until(tab, lambda: len(ballots) == 1)
    ballots[0].continue_()
    expect(tab.locator("#count")).to_have_text("4 left")
    until(tab, lambda: len(ballots) == 2)
    tab.keyboard.press("1")
    until(tab, lambda: votes)
    voted = votes[0].fetch()  # the vote is cast, and the next ballot comes before that is told
    let_through(ballots[1])
    votes[0].fulfill(response=voted)
    expect(tab.locator("#count")).to_have_text("3 left")


def vote_by_api(site: Served, comparison: dict[str, Any], *, voter: str, against: int) -> None:
    """Vote for the clearer picture, whose file is the smaller one; every so many votes say anything."""
    at = f"/v1/comparisons/{comparison['id']}"
    for place in range(1000):
        ballot = site.client.post(f"{at}/ballots", json={"voter": voter}).json()
        if ballot["id"] is None:
            return
        left, right = (len(site.client.get(ballot[side]["url"]).content) for side in ("left", "right"))
        choice = "left" if left < right else "right"
        if place % against == 0:
            choice = ("left", "right", "tie")[place % 3]
        body = {"ballot": ballot["id"], "choice": choice}
        assert site.client.post(f"{at}/votes", json=body).status_code == 200


def test_how_it_looks(browser: Browser, site: Served, job: dict[str, Any]) -> None:
    prompts = sorted(emoji())[:8]
    pair = compare(site, name="Emoji, round 2", models=["tiny", "sticker@production"], prompts=prompts)
    first = checkpoints_of(site, job)[-1]
    three = compare(site, name="Three of a kind", models=["tiny", first, "sticker"], prompts=prompts[:4])
    with drawing_at(site), looking(browser, site) as looker:
        tab = looker.tab()
        for one in (pair, three):
            tab.goto(f"/comparisons/{one['id']}")
            expect(tab.locator("#state .badge")).to_have_text("ready")
    for voter in ("ada", "grace"):
        vote_by_api(site, pair, voter=voter, against=4)
    vote_by_api(site, three, voter="ada", against=3)
    compare(site, name="Being drawn", models=["tiny", "sticker"], prompts=prompts)
    shoot(browser, site, "/comparisons", "comparisons")
    shoot(browser, site, "/comparisons/new?models=tiny,sticker@production", "comparison-new")
    shoot(browser, site, f"/comparisons/{pair['id']}", "comparison")
    shoot(browser, site, f"/comparisons/{three['id']}", "comparison-three")
    shoot(browser, site, f"/comparisons/{pair['id']}/vote", "vote", ready="#two:visible")
