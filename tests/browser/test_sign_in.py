"""Signing in and out, in a real browser."""

from playwright.sync_api import Browser, expect

from tests.api.platform import Served
from tests.browser.conftest import Looker, looking, shoot


def test_a_key_opens_the_door_and_signing_out_closes_it(browser: Browser, site: Served) -> None:
    with looking(browser, site, signed_in=False) as looker:
        tab = looker.tab()
        tab.goto("/?x=1")
        expect(tab).to_have_title("Sign in · Spindle")
        assert tab.url.endswith("/sign-in?next=%2F%3Fx%3D1")
        looker.forgive("401")
        tab.get_by_label("Key").fill("spk-of-nobody")
        tab.keyboard.press("Enter")
        expect(tab.get_by_role("alert")).to_contain_text("not known")
        tab.get_by_label("Key").fill(site.secret)
        tab.keyboard.press("Enter")
        expect(tab).to_have_title("Overview · Spindle")
        assert tab.url == f"{site.url}/?x=1"
        tab.get_by_role("button", name="Sign out").click()
        expect(tab).to_have_title("Sign in · Spindle")
        tab.goto("/")
        expect(tab).to_have_title("Sign in · Spindle")


def test_a_page_that_is_not_there_says_so(looker: Looker) -> None:
    tab = looker.tab()
    looker.forgive("404")
    tab.goto("/nowhere")
    expect(tab.get_by_role("heading")).to_have_text("Not Found")


def test_the_menu_of_a_narrow_screen_opens_by_keyboard(browser: Browser, site: Served) -> None:
    with looking(browser, site, viewport={"width": 390, "height": 844}) as looker:
        tab = looker.tab()
        tab.goto("/")
        expect(tab.get_by_role("link", name="Datasets", exact=True)).to_be_hidden()
        tab.get_by_role("button", name="Menu").press("Enter")
        expect(tab.get_by_role("link", name="Datasets", exact=True)).to_be_visible()


def test_how_it_looks(browser: Browser, site: Served) -> None:
    shoot(browser, site, "/", "overview")
    shoot(browser, site, "/sign-in", "sign-in")
    shoot(browser, site, "/nowhere/at/all", "not-found", forgiven="404")
