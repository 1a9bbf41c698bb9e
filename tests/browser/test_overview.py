"""The first page in a real browser: first steps, what runs and waits, by itself."""

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, Page, expect

from core import projects, workers
from core.db import transaction
from core.keys import DEFAULT_PROJECT
from core.models import Drawing, UnitKind
from core.runs import claims, records
from core.runs.capabilities import Capabilities
from tests.api.platform import Served
from tests.browser.conftest import Looker, looking, shoot
from tests.browser.pictures import cut, zipped

WIDTH = "async (image) => { await image.decode(); return image.naturalWidth; }"


def workers_live(site: Served) -> None:
    """Let a worker with a GPU, one that draws and a beat be there."""
    with transaction(site.database) as session:
        has = Capabilities(gpus=1, memory_bytes=24 << 30)
        workers.heartbeat(session, name="units-0@studio", kind="units", kinds=list(UnitKind), has=has)
        workers.heartbeat(session, name="serve-0@studio", kind="serve")
        workers.heartbeat(session, name="beat@studio", kind="beat")


@contextmanager
def limited(site: Served, **limits: float) -> Iterator[None]:
    """Limit the project while the block runs: what comes after is not refused for it."""
    set_limits(site, dict(limits))
    yield
    set_limits(site, dict.fromkeys(limits))


def set_limits(site: Served, limits: dict[str, float | None]) -> None:
    """Limit the project from now on."""
    with transaction(site.database) as session:
        projects.set_limits(session, project_id=DEFAULT_PROJECT, limits=limits)


def begun_job(site: Served, suffix: str) -> claims.Claim:
    """Make a job, do four of its units and a third of the next, which has drawn; return the claim of that."""
    emoji = cut(6)
    file_id = site.upload(zipped(emoji), "emoji.zip")
    made = site.client.post("/v1/datasets", json={"name": "emoji", "file": file_id}).json()
    site.work()
    site.job(training_file=made["id"], suffix=suffix)
    site.work(4)
    with transaction(site.database) as session:
        claim = claims.claim_unit(session, worker="units-0@studio", lease_seconds=600)
        assert claim is not None
        line = {"type": "progress", "step": 3, "of": 9, "what": "train", "seconds_left": 40.0}
        records.record_events(session, claim, [line])
    drawn = site.put(claim, {f"samples/{index}.png": data for index, (_, data) in enumerate(emoji[:4])})
    with transaction(site.database) as session:
        for index, file in enumerate(drawn):
            told = {"iteration": 3, "index": index, "prompt": emoji[index][0], "seed": 7, "key": file["key"]}
            records.record_sample(session, claim, **told)
    return claim


def test_somebody_new_is_led_from_pictures_to_a_drawing(browser: Browser, untouched: Served) -> None:
    with looking(browser, untouched) as looker:
        lead(looker.tab(), untouched)


def lead(tab: Page, site: Served) -> None:
    """Go the way from the first step to where there are none."""
    tab.goto("/")
    steps = tab.locator("#steps li")
    expect(steps).to_have_count(3)
    expect(tab.locator("#steps li.done")).to_have_count(0)
    expect(tab.locator("#health")).to_contain_text("None is there, so nothing is checked or trained")
    expect(tab.locator("#health")).to_contain_text("python -m worker serve")
    site.job(suffix="first")
    expect(tab.locator("#steps li.done h3")).to_have_text(["Bring pictures (done)", "Start a job (done)"])
    expect(tab.locator("#waiting")).to_contain_text("first")
    workers_live(site)
    site.work()
    model = site.client.get("/v1/models").json()["data"][0]["id"]
    expect(tab.locator("#models")).to_contain_text(model)
    expect(tab.locator("#waiting li")).to_have_count(0)
    expect(tab.get_by_role("link", name="To the playground")).to_have_attribute("href", "/playground")
    with transaction(site.database) as session:
        session.add(
            Drawing(
                id="img-1", project_id=DEFAULT_PROJECT, model_id=model, pipeline="x", request={"seeds": [1]}
            )
        )
    expect(steps).to_have_count(0)
    expect(tab.locator("#running")).to_contain_text("Nothing runs")


def test_two_tabs_see_a_job_run_with_its_newest_pictures(looker: Looker, site: Served) -> None:
    first, second = looker.tab(), looker.tab()
    for tab in (first, second):
        tab.goto("/")
    claim = begun_job(site, "running")
    for tab in (first, second):
        run = tab.locator("#running article", has_text="running")
        expect(run).to_contain_text("step 3 of 9")
        expect(run.locator("img")).to_have_count(4)
        expect(run.locator("img").first).to_have_attribute("alt", "anger-symbol.png")
        assert run.locator("img").first.evaluate(WIDTH) == 64
    with transaction(site.database) as session:
        records.record_events(session, claim, [{"type": "progress", "step": 6, "of": 9, "what": "train"}])
    expect(second.locator("#running article", has_text="running")).to_contain_text("step 6 of 9")


def test_how_it_looks(browser: Browser, site: Served) -> None:
    workers_live(site)
    site.job(suffix="next")
    with limited(site, max_jobs=4.0, max_bytes=1e6, gpu_seconds_limit=7200.0):
        shoot(browser, site, "/", "overview")
