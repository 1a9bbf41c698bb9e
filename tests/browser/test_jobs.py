"""Jobs in a real browser: the list, the form, the page of one while it runs."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import insert, update

from core import workers
from core.db import transaction
from core.ids import new_id
from core.keys import DEFAULT_PROJECT
from core.models import Job, JobState, UnitKind, WorkerNode
from core.runs.capabilities import Capabilities
from tests.api.platform import Served
from tests.browser import job_filling as filling
from tests.browser.conftest import Looker, hold, looking, shoot, until
from tests.browser.relay import relay_to

SPIN = {"type": "spin", "spin": {"hyperparameters": {"n_iterations": 3, "steps": 60}}}
MANY = 100
LEAVING = """() => addEventListener("pagehide", () => {
  sessionStorage.setItem("disabled", document.querySelector("#job button.primary").disabled);
})"""
STATES = (JobState.succeeded, JobState.failed, JobState.cancelled)


@pytest.fixture(scope="module")
def data(site: Served) -> str:
    """A dataset, and a worker that lives."""
    return ready(site)


def ready(site: Served) -> str:
    """Return a dataset; a worker lives, however long the tests take."""
    with transaction(site.database) as session:
        workers.heartbeat(session, name="units-1", kind="units", kinds=tuple(UnitKind), has=Capabilities())
        session.execute(update(WorkerNode).values(seen_at=datetime.now(UTC) + timedelta(days=1)))
    return site.dataset()


@pytest.fixture(scope="module")
def done(site: Served, data: str) -> str:
    """A job that has succeeded in three rounds, measured on held-out data."""
    job = site.job(training_file=data, validation_file=data, method=SPIN, suffix="portraits", seed=3)
    filling.run_all(site)
    return str(job["id"])


def test_how_it_looks_when_there_is_nothing(browser: Browser, untouched: Served) -> None:
    shoot(browser, untouched, "/jobs", "jobs-none")
    with looking(browser, untouched) as looker:
        tab = looker.tab()
        tab.goto("/jobs/new")
        expect(tab.locator("main h2")).to_have_text("There is no data to train on yet")


def test_a_newcomer_makes_a_job_by_keyboard(browser: Browser, untouched: Served) -> None:
    ready(untouched)
    with looking(browser, untouched) as looker:
        make_by_keyboard(looker)


def make_by_keyboard(looker: Looker) -> None:
    """Start the first job of a project, with what is wrong on the way."""
    tab = looker.tab()
    tab.goto("/jobs/new")
    panel = tab.locator("#estimate")
    expect(panel).to_contain_text("known after a first job on this model")
    expect(panel).to_contain_text("Optimiser steps5")
    looker.forgive("422")
    steps = tab.get_by_label("Steps", exact=True)
    steps.focus()
    tab.keyboard.type("3, 2, 1")
    expect(steps).to_have_attribute("aria-invalid", "true")
    expect(steps).to_be_focused()  # typing goes on undisturbed
    expect(tab.locator(".wrong")).to_contain_text("3 values for n_iterations=2")
    tab.keyboard.press("Control+A")
    tab.keyboard.type("30, 20")
    expect(panel).to_contain_text("Optimiser steps50")
    expect(tab.locator(".wrong")).to_have_count(0)
    tab.get_by_label("Name", exact=True).fill("my name")
    tab.get_by_label("Name", exact=True).press("Enter")
    name = tab.get_by_label("Name", exact=True)
    expect(name).to_have_attribute("aria-invalid", "true")
    expect(name).to_be_focused()
    name.fill("by-keyboard")
    tab.get_by_role("button", name="Start the job").press("Enter")
    expect(tab).to_have_title("by-keyboard · Spindle")
    expect(tab.locator("#toasts")).to_contain_text("The job is made.")
    expect(tab.locator("#state")).to_contain_text("queue")


def test_the_form_follows_method_and_preset_and_copies_a_job(looker: Looker, done: str) -> None:
    tab = looker.tab()
    tab.goto(f"/jobs/new?from={done}")
    expect(tab.get_by_label("Iterations", exact=True)).to_have_value("3")
    expect(tab.get_by_label("Steps", exact=True)).to_have_value("60")
    expect(tab.get_by_label("Seed")).to_have_value("3")
    tab.get_by_role("radio", name="Quick try").check()
    expect(tab.get_by_label("Iterations", exact=True)).to_have_value("")
    expect(tab.get_by_label("Steps", exact=True)).to_have_value("1, 1")
    tab.get_by_label("Method").select_option("sft")
    expect(tab.get_by_label("Iterations", exact=True)).to_have_count(0)
    expect(tab.get_by_label("Steps", exact=True)).to_have_attribute("placeholder", "4")
    tab.reload()
    expect(tab.get_by_label("Method")).to_have_value("sft")


def test_settings_that_come_late_are_not_those_of_another_method(looker: Looker, done: str) -> None:
    tab = looker.tab()
    tab.goto(f"/jobs/new?from={done}")
    held = hold(tab, re.compile("/jobs/new.*method=(kto|sft)"))
    start = tab.get_by_role("button", name="Start the job")
    for chosen, waiting in (("kto", 1), ("sft", 2)):
        tab.get_by_label("Method").select_option(chosen)
        until(tab, lambda: len(held) == waiting)  # noqa: B023 - it is called before the loop goes on
        expect(start).to_be_disabled()
        expect(tab.get_by_label("Seed")).to_be_enabled()
    held[1].continue_()
    expect(start).to_be_enabled()
    expect(tab.get_by_label("Iterations", exact=True)).to_have_count(0)
    expect(tab.get_by_label("Steps", exact=True)).to_be_enabled()


def test_a_model_chosen_meanwhile_does_not_bring_the_old_preset_back(looker: Looker, done: str) -> None:
    tab = looker.tab()
    tab.goto(f"/jobs/new?from={done}")
    held = hold(tab, re.compile("/jobs/new.*preset="), first=1)
    tab.get_by_role("radio", name="Quick try").check()
    until(tab, lambda: held)
    tab.get_by_label("Start from").select_option(label="Another name or a checkpoint…")
    tab.get_by_label("Name of a model or a checkpoint").fill("tiny")
    tab.get_by_label("Name of a model or a checkpoint").press("Tab")
    expect(tab.get_by_label("Steps", exact=True)).to_have_value("1, 1")
    expect(tab.get_by_role("radio", name="Quick try")).to_be_checked()


def test_a_form_that_was_sent_cannot_be_sent_again_while_its_page_is_left(looker: Looker, data: str) -> None:
    tab = looker.tab()
    tab.goto(f"/jobs/new?dataset={data}")
    tab.get_by_label("Name", exact=True).fill("once")
    tab.evaluate(LEAVING)
    tab.get_by_role("button", name="Start the job").click()
    expect(tab).to_have_title("once · Spindle")
    assert tab.evaluate("sessionStorage.getItem('disabled')") == "true"


def test_what_is_pressed_stays_pressed_while_its_page_lives(looker: Looker, site: Served, data: str) -> None:
    job = site.job(training_file=data, method=SPIN, suffix="pressed", priority=9)
    claim = filling.run_until(site, UnitKind.train, 1)
    tab = looker.tab()
    tab.goto(f"/jobs/{job['id']}")
    expect(tab.locator("#state")).to_contain_text("Training, iteration 1")
    asked = hold(tab, "**/pause")
    pause = tab.locator("#pause")
    pause.click()
    until(tab, lambda: asked)
    looks = hold(tab, f"**/jobs/{job['id']}", first=2)
    filling.train(site, claim, steps=20)
    until(tab, lambda: looks)
    tab.dispatch_event("body", "changed")  # a second look waits for the first, and cannot come before it
    looks[0].continue_()
    expect(tab.locator("#units")).to_contain_text("20 of 60")
    expect(pause).to_be_disabled()
    until(tab, lambda: len(looks) == 2)
    looks[1].continue_()
    asked[0].continue_()
    expect(tab.locator("#state")).to_contain_text("It will pause as soon as")
    site.client.post(f"/v1/fine_tuning/jobs/{job['id']}/cancel")


def test_a_page_lives_while_its_job_runs(looker: Looker, site: Served, data: str) -> None:
    job = site.job(training_file=data, validation_file=data, method=SPIN, suffix="living", priority=9)
    tab = looker.tab()
    tab.goto(f"/jobs/{job['id']}")
    expect(tab.locator("#stream")).to_have_text("Live.")
    expect(tab.locator("#state")).to_contain_text("next in the queue")
    claim = filling.run_until(site, UnitKind.train, 1)
    expect(tab.locator("#strip button.shot")).to_have_count(4)
    filling.train(site, claim, steps=20)
    expect(tab.locator("#state")).to_contain_text("Training, iteration 1 (20 of 60")
    expect(tab.locator("#chart-loss polyline.mean")).to_have_count(1)
    expect(tab.locator("#units")).to_contain_text("20 of 60, 1 min 20 s left")
    tab.reload()
    expect(tab.locator("#stream")).to_have_text("Live.")
    filling.train(site, claim)
    filling.finish_training(site, claim)
    expect(tab.locator("#events")).to_contain_text("Iteration 1, step 60: checkpoint saved.")
    seen = tab.locator("#events li").evaluate_all("all => all.map(one => one.dataset.event)")
    assert len(seen) == len(set(seen))
    filling.work(site, filling.claim_next(site))
    expect(tab.locator("#strip button.shot")).to_have_count(8)
    expect(tab.locator("#wipe-right")).to_have_value("SPIN 1")
    expect(tab.locator("#verdict")).to_contain_text("SPIN 1 so far: better than its base model")
    tab.once("dialog", lambda asked: asked.accept())
    tab.get_by_role("button", name="Cancel job").click()
    expect(tab.locator("#state .badge").first).to_have_text("cancelled")
    expect(tab.locator("#stream")).to_have_text("It has ended.")


def test_after_a_lost_connection_nothing_is_missing(looker: Looker, site: Served, data: str) -> None:
    looker.forgive("ERR_")
    job = site.job(training_file=data, method=SPIN, suffix="cut-off", priority=9)
    tab = looker.tab()
    with relay_to(site.url) as wire:
        tab.goto(f"{wire.url}/jobs/{job['id']}")
        expect(tab.locator("#stream")).to_have_text("Live.")
        wire.cut()
        expect(tab.locator("#stream")).to_contain_text("The connection was lost")
        claim = filling.run_until(site, UnitKind.train, 1)
        wire.whole = True
        expect(tab.locator("#stream")).to_have_text("Live.")
        expect(tab.locator("#events")).to_contain_text("The base model is measured")
        filling.train(site, claim, steps=2)
        filling.finish_training(site, claim)
        expect(tab.locator("#events")).to_contain_text("Iteration 1, step 60: checkpoint saved.")
        told = site.client.get(f"/v1/fine_tuning/jobs/{job['id']}/events", params={"limit": 100})
        ids = [each["id"] for each in told.json()["data"] if each["type"] != "metrics"]
        shown = tab.locator("#events li")
        expect(shown).to_have_count(len(ids))
        assert shown.evaluate_all("all => all.map(one => one.dataset.event)") == ids
        site.client.post(f"/v1/fine_tuning/jobs/{job['id']}/cancel")
        tab.close()


def test_what_one_tab_does_another_sees(looker: Looker, site: Served, data: str) -> None:
    job = site.job(training_file=data, method=SPIN, suffix="two-tabs", priority=9)
    claim = filling.run_until(site, UnitKind.train, 1)
    one, other = looker.tab(), looker.tab()
    for tab in (one, other):
        tab.goto(f"/jobs/{job['id']}")
        expect(tab.locator("#stream")).to_have_text("Live.")
    one.bring_to_front()
    one.get_by_role("button", name="Pause").press("Enter")
    expect(other.locator("#state")).to_contain_text("It will pause as soon as")
    other.get_by_role("button", name="Do not pause").click()
    expect(one.get_by_role("button", name="Pause", exact=True)).to_be_visible()
    one.once("dialog", lambda asked: asked.accept())
    one.get_by_role("button", name="Cancel job").click()
    expect(other.locator("#state")).to_contain_text("cancelled")
    assert claim.job_id == job["id"]


def test_before_and_after_by_keyboard(tab: Page, done: str) -> None:
    tab.goto(f"/jobs/{done}")
    slider = tab.get_by_role("slider")
    expect(slider).to_have_attribute("aria-valuetext", "50 % Base, 50 % SPIN 3")
    slider.focus()
    tab.keyboard.press("End")
    expect(slider).to_have_attribute("aria-valuetext", "100 % Base, 0 % SPIN 3")
    tab.keyboard.press("ArrowLeft")
    over = tab.locator(".both img").last
    expect(over).to_have_css("clip-path", "inset(0px 1% 0px 0px)")
    tab.get_by_label("Left", exact=True).select_option("SPIN 2")
    expect(slider).to_have_attribute("aria-valuetext", "99 % SPIN 2, 1 % SPIN 3")
    expect(over).to_have_attribute("alt", "red apple, drawn by SPIN 2")


def test_a_picture_is_seen_large_and_a_curve_is_read(tab: Page, done: str) -> None:
    tab.goto(f"/jobs/{done}")
    tab.get_by_role("button", name="red apple, drawn by Base").press("Enter")
    title = tab.locator("#zoom-title")
    expect(title).to_have_text("red apple · Base")
    tab.keyboard.press("ArrowRight")
    tab.keyboard.press("ArrowDown")
    expect(title).to_have_text("baby chick · SPIN 1")
    tab.keyboard.press("Escape")
    expect(tab.locator("#zoom")).to_be_hidden()
    tab.locator("#chart-loss").focus()
    tab.keyboard.press("Home")
    expect(tab.locator("#chart-loss output")).to_contain_text("Step 1: 0.6")
    tab.keyboard.press("ArrowRight")
    expect(tab.locator("#chart-loss output")).to_contain_text("Step 2: 0.6")
    tab.get_by_label("Smoothed").uncheck()
    expect(tab.locator("#chart-loss polyline.mean").first).to_be_hidden()


def test_an_iteration_is_promoted_and_compared_with_one_click(tab: Page, done: str) -> None:
    tab.goto(f"/jobs/{done}")
    tab.get_by_role("button", name="Promote").first.press("Enter")
    tab.get_by_label("Name", exact=True).fill("portraits")
    tab.get_by_label("Alias").fill("production")
    tab.keyboard.press("Enter")
    expect(tab).to_have_url(re.compile("/models/names/portraits$"))
    tab.goto("/jobs/new?model=portraits@production")
    expect(tab.locator("#estimate")).to_contain_text("Optimiser steps5")
    tab.goto(f"/jobs/{done}")
    tab.get_by_role("button", name="Compare SPIN 3 with the iteration before, blind").click()
    expect(tab).to_have_url(re.compile("/comparisons/cmp-"))
    tab.goto(f"/jobs/{done}")
    tab.locator("#checkpoints").get_by_role("button", name="Compare").first.click()
    expect(tab).to_have_url(re.compile("/comparisons/cmp-"))


def test_the_report_opens_from_a_disk_without_a_word(
    browser: Browser, site: Served, done: str, tmp_path: Path
) -> None:
    with looking(browser, site) as looker:
        tab = looker.tab()
        tab.goto(f"/jobs/{done}")
        with tab.expect_download() as begun:
            tab.get_by_role("link", name="Report").click()
        path = tmp_path / begun.value.suggested_filename
        begun.value.save_as(path)
        assert path.name == "portraits-report.html"
        report = looker.tab()
        report.goto(path.as_uri())
        expect(report.get_by_role("heading", level=1)).to_have_text("Better than its base model")
        drawn = report.locator("#pictures img").evaluate_all("all => all.map(one => one.naturalWidth)")
        assert drawn == [64] * 16


def test_a_failed_job_says_what_to_do(browser: Browser, site: Served, data: str) -> None:
    job = site.job(training_file=data, method=SPIN, suffix="too-fast", priority=9)
    claim = filling.run_until(site, UnitKind.train, 1)
    filling.fail(site, claim, reason="user_error", message="the loss is not finite after 12 steps")
    with looking(browser, site) as looker:
        tab = looker.tab()
        tab.goto(f"/jobs/{job['id']}")
        expect(tab.locator("#state")).to_contain_text("What was given cannot be used while it was to train")
        expect(tab.locator("#state")).to_contain_text("The loss is not finite after 12 steps.")
        expect(tab.get_by_role("link", name="Copy it and change what is wrong")).to_be_visible()
    shoot(browser, site, f"/jobs/{job['id']}", "job-failed")


def test_how_it_looks(browser: Browser, site: Served, data: str, done: str) -> None:
    running = site.job(
        training_file=data, validation_file=data, method=SPIN, suffix="watercolour", priority=9
    )
    claim = filling.run_until(site, UnitKind.train, 2)
    filling.train(site, claim, steps=25)
    shoot(browser, site, "/jobs", "jobs", ready="table")
    shoot(browser, site, "/jobs/new", "jobs-new", ready="#estimate dl")
    shoot(browser, site, f"/jobs/{done}", "job", ready="#wipe .both")
    shoot(browser, site, f"/jobs/{running['id']}", "job-running", ready="#strip img")


def test_many_jobs_are_listed_a_page_at_a_time(tab: Page, site: Served, data: str) -> None:
    began = datetime(2026, 1, 1, tzinfo=UTC)
    method = {
        "type": "sft",
        "sft": {"hyperparameters": {"steps": 4, "learning_rate": 0.002, "batch_size": 2}},
    }
    rows = [
        {
            "id": new_id("ftjob-"),
            "project_id": DEFAULT_PROJECT,
            "model_id": "tiny",
            "base_model_id": "tiny",
            "pipeline": "folder:/models/tiny",
            "pipeline_digest": "d",
            "dataset_id": data,
            "method": method,
            "seed": number,
            "state": STATES[0 if number % 10 else 1],
            "created_at": began + timedelta(minutes=number),
        }
        for number in range(MANY)
    ]
    with transaction(site.database) as session:
        session.execute(insert(Job), rows)
    tab.goto("/jobs")
    expect(tab.locator("tbody tr")).to_have_count(25)
    tab.get_by_role("link", name="Older").click()
    expect(tab).to_have_url(re.compile("after="))
    expect(tab.locator("tbody tr")).to_have_count(25)
    tab.get_by_role("link", name="Failed").click()
    expect(tab.locator("tbody .badge").first).to_have_text("failed")
    expect(tab.locator("tbody .badge").filter(has_not_text="failed")).to_have_count(0)
