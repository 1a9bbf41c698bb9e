"""A real server, filled by real requests, and a real Chromium that looks at it."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Route, expect, sync_playwright

from tests.api.conftest import copied, prepared, settings_in
from tests.api.platform import Served, server_in
from tests.browser.chromium import FLAGS, installed
from tests.programs import lacking

__all__ = ["prepared"]

WIDE = {"width": 1280, "height": 860}
NARROW = {"width": 390, "height": 844}
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]
ALL_PICTURES = """() => Promise.all([...document.images].map((image) => {
  image.loading = "eager";
  return image.decode().catch(() => {});
}))"""
PATIENCE = 30_000  # milliseconds: a machine at work may take long for what takes none by itself
LOOKS = 50  # milliseconds between two
SHOTS = os.environ.get("SPINDLE_SHOTS")  # a folder; without one no picture is taken, which costs much


expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A Chromium without a window. While one is open, an event loop runs: nothing else may want one."""
    path, said = installed()
    if path is None:
        lacking(f"no Chromium can be had, so no page of the dashboard was looked at:\n{said}")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield started
        started.close()


@pytest.fixture(scope="module")
def site(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server of the module's own, with nothing in it yet but a base model and the first key."""
    home = copied(prepared, tmp_path_factory.mktemp("site"))
    with server_in(settings_in(home, max_file_bytes=1 << 30, requests_per_minute=0)) as served:
        yield served


@pytest.fixture
def untouched(prepared: Path, tmp_path: Path) -> Iterator[Served]:
    """The same for one test alone: nothing of the others' is in it, in whichever order they run."""
    with server_in(settings_in(copied(prepared, tmp_path / "home"), requests_per_minute=0)) as served:
        yield served


def until(page: Page, holds: Callable[[], object]) -> None:
    """Wait, while the page goes on, until something holds that no part of the page tells of."""
    for _ in range(PATIENCE // LOOKS):
        if holds():
            return
        page.wait_for_timeout(LOOKS)
    raise AssertionError("it does not come to hold")


def hold(page: Page, url: str | re.Pattern[str], *, first: int | None = None) -> list[Route]:
    """Return, as they come, what a page asks of an address, which waits there: all of it, or so much."""
    held: list[Route] = []

    def take(route: Route) -> None:
        if first is None or len(held) < first:
            held.append(route)
        else:
            route.continue_()

    page.route(url, take)
    return held


def let_through(route: Route) -> None:
    """Let a request that was held go, and wait until the page has its answer."""
    route.continue_()
    answer = route.request.response()
    assert answer is not None
    answer.finished()


@dataclass
class Looker:
    """A person at a browser: pages of one width and colour scheme, and all that went wrong on them."""

    context: BrowserContext
    url: str
    complaints: list[str] = field(default_factory=list)
    forgiven: list[str] = field(default_factory=list)

    def tab(self) -> Page:
        """Open a tab that listens for complaints."""
        page = self.context.new_page()
        page.set_default_timeout(PATIENCE)
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.complaints.append(f"{page.url}: {error}"))
        return page

    def forgive(self, pattern: str) -> None:
        """Let what the test provokes on purpose pass: the browser logs each refused request."""
        self.forgiven.append(pattern)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.text} {message.location}")

    def check(self) -> None:
        """Fail if the browser complained of anything."""
        left = [one for one in self.complaints if not any(re.search(each, one) for each in self.forgiven)]
        assert left == []


@contextmanager
def looking(browser: Browser, site: Served, *, signed_in: bool = True, **options: object) -> Iterator[Looker]:
    """Yield somebody who looks at a site, by default signed in; at the end nothing may have gone wrong.

    Args:
        browser: the browser.
        site: what to look at.
        signed_in: whether with the first key.
        options: of the browser's context: viewport, color_scheme, reduced_motion, ...
    """
    told = {"viewport": WIDE, "reduced_motion": "reduce"} | options
    context = browser.new_context(base_url=site.url, **told)  # type: ignore[arg-type]
    looker = Looker(context, site.url)
    try:
        if signed_in:
            answer = context.request.post(
                "/sign-in", form={"key": site.secret}, headers={"Origin": site.url}, max_redirects=0
            )
            assert answer.status == 303, answer.text()
        yield looker
        looker.check()
    finally:
        context.close()


@pytest.fixture
def looker(browser: Browser, site: Served) -> Iterator[Looker]:
    """Somebody who is signed in, at a wide screen."""
    with looking(browser, site) as one:
        yield one


@pytest.fixture
def tab(looker: Looker) -> Page:
    """A tab of theirs."""
    return looker.tab()


def accessible(page: Page) -> None:
    """Fail if axe-core finds what keeps people out: by keyboard, by screen reader, by contrast."""
    found = Axe().run(
        page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}
    )
    told = [
        f"{one['id']}: {one['help']}: {[node['target'] for node in one['nodes']][:5]}"
        for one in found.response["violations"]
    ]
    assert told == [], f"{page.url}: {told}"


def picture(page: Page, name: str, *, whole: bool = True) -> None:
    """Keep a picture of a page for people, if one is wanted."""
    if SHOTS is not None:
        page.screenshot(path=Path(SHOTS) / f"{name}.png", full_page=whole)


def shoot(
    browser: Browser, site: Served, path: str, name: str, *, ready: str = "main", forgiven: str | None = None
) -> None:
    """Look at a page wide and light, narrow and dark: by axe, and for what is too wide."""
    for shape, viewport in (("wide", WIDE), ("narrow", NARROW)):
        scheme = "light" if shape == "wide" else "dark"
        with looking(browser, site, viewport=viewport, color_scheme=scheme) as looker:
            page = looker.tab()
            if forgiven is not None:
                looker.forgive(forgiven)
            page.goto(path)
            page.locator(ready).first.wait_for()
            page.evaluate(ALL_PICTURES)
            picture(page, f"{name}-{shape}")
            accessible(page)
            overflow = page.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert overflow <= 0, f"{path} is {overflow} pixels too wide for a {shape} screen"
