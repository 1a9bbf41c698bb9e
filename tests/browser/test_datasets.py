"""Bringing pictures in a real browser: dropped, sent in parts, interrupted, checked, looked at."""

import base64
import hashlib
import io
import re
import zipfile
from pathlib import Path

from playwright.sync_api import Browser, Page, Request, Response, Route, expect

from tests.api.platform import Served
from tests.browser.conftest import Looker, hold, let_through, shoot, until
from tests.browser.pictures import cut, drop, zipped

PART = 4 << 20
DIGEST = """async (size) => {
  const mine = document.querySelector("script[src*=datasets]").src;
  const beside = (name) => import(mine.replace("datasets", name));
  const { plainSha256 } = await beside("sha256");
  const digest = plainSha256(Uint8Array.from({ length: size }, (_, number) => number % 251));
  return [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}"""
ZIP = """async (many) => {
  const mine = document.querySelector("script[src*=datasets]").src;
  const beside = (name) => import(mine.replace("datasets", name));
  const { packed } = await beside("zip");
  const nothing = new Blob([]);
  const blob = (number) => (number % 1000 ? nothing : new Blob([`caption ${number}`]));
  const one = (_, number) => ({ path: `d/e\u0301-${number}.txt`, blob: blob(number) });
  const zip = await packed(Array.from({ length: many }, one));
  return await new Promise((done) => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result.split(",")[1]);
    reader.readAsDataURL(zip);
  });
}"""
PARTS = re.compile(r"/v1/uploads/[^/]+/parts$")


def dataset(site: Served, name: str, files: list[tuple[str, bytes]], **more: object) -> str:
    """Make a dataset over the API and return its id."""
    body = {"name": name, "file": site.upload(zipped(files), f"{name}.zip")} | more
    made = site.client.post("/v1/datasets", json=body).json()
    site.work()
    return str(made["id"])


def named(tab: Page) -> str:
    """Return the id of the dataset whose page is shown."""
    tab.wait_for_url("**/datasets/ds-*")
    return tab.url.rpartition("/")[2]


def test_an_archive_that_is_dropped_becomes_pictures_to_look_at(looker: Looker, site: Served) -> None:
    looker.forgive("422")
    tab = looker.tab()
    tab.goto("/datasets")
    drop(tab, [("emoji.zip", zipped(cut(30, bad=2)))])
    expect(tab.get_by_label("Name", exact=True)).to_have_value("emoji")
    tab.get_by_label("Name", exact=True).fill("../faces")
    tab.get_by_role("button", name="Make the dataset").click()
    expect(tab.get_by_label("Name", exact=True)).to_have_attribute("aria-invalid", "true")
    tab.get_by_label("Name", exact=True).fill("faces")
    tab.get_by_text("Hold some out").click()
    tab.get_by_label("Hold out for validation").select_option("0.1")
    tab.get_by_role("button", name="Make the dataset").click()
    made = site.client.get(f"/v1/datasets/{named(tab)}").json()
    assert (made["name"], made["version"], made["part"]) == ("faces", 1, "training")
    assert made["options"]["split"] == {"validation": 0.1, "by": "row", "seed": 0}
    expect(tab.get_by_role("heading", name="Checking the pictures")).to_be_visible()
    site.work()
    expect(tab.locator("#gallery img").first).to_be_visible()
    expect(tab.locator("#gallery li")).to_have_count(27)
    refused = tab.locator("#refused-rows tr")
    expect(refused).to_have_text(
        [re.compile(r"broken-0\.png31not a PNG"), re.compile(r"broken-1\.png32not a")]
    )
    with tab.expect_download() as download:
        tab.get_by_role("link", name="Download all as CSV").click()
    lines = Path(download.value.path()).read_text().splitlines()
    assert [line.split(",")[:2] for line in lines[1:]] == [["broken-0.png", "31"], ["broken-1.png", "32"]]


def test_loose_pictures_are_packed_and_captions_can_come_from_their_names(tab: Page, site: Served) -> None:
    tab.goto("/datasets")
    pictures = [(name, data) for name, data in cut(4) if name.endswith(".png")]
    drop(tab, [*pictures, (".DS_Store", b"x"), ("notes.docx", b"x")])
    told = tab.get_by_role("alert")
    expect(told).to_contain_text("4 pictures have no captions")
    expect(told).to_contain_text("1 other file stay")
    tab.get_by_role("button", name="Take captions from the file names").click()
    tab.get_by_label("Name", exact=True).fill("loose")
    tab.get_by_role("button", name="Make the dataset").click()
    made = named(tab)
    site.work()
    rows = site.client.get(f"/v1/datasets/{made}/rows").json()["data"]
    words = [name.removesuffix(".png").replace("-", " ") for name, _ in pictures]
    assert [row["caption"] for row in rows] == words
    full = site.client.get(f"/v1/datasets/{made}/rows/2/content")
    assert (full.content, full.headers["content-type"]) == (pictures[2][1], "image/png")


def test_what_cannot_be_a_dataset_is_refused_before_it_is_sent(tab: Page, site: Served) -> None:
    before = site.counts()["upload"]
    tab.goto("/datasets")
    for files, why in (
        ([("letter.docx", b"words")], "letter.docx cannot be taken"),
        ([("words.zip", b"these are words")], "its first bytes are of no zip"),
        ([("none.zip", b"")], "it is empty"),
        ([("only.txt", b"a caption")], "come without pictures"),
    ):
        drop(tab, files)
        expect(tab.get_by_role("alert")).to_contain_text(why)
    assert site.counts()["upload"] == before
    expect(tab.locator("#uploads li")).to_have_count(0)


def test_a_reload_in_the_middle_of_an_upload_goes_on_where_it_was(
    tab: Page, site: Served, tmp_path: Path
) -> None:
    large = tmp_path / "large.zip"
    noise = bytes(range(251)) * (5 * PART // 251)
    large.write_bytes(zipped([*cut(3), ("notes.bin", noise)]))
    sent: list[Route] = []

    def two_parts(route: Route) -> None:
        sent.append(route)
        if len(sent) <= 2:
            route.continue_()

    answered: list[Response] = []
    tab.on("response", lambda answer: answered.append(answer) if PARTS.search(answer.url) else None)
    tab.route(PARTS, two_parts)
    tab.goto("/datasets")
    tab.locator("#files").set_input_files(large)
    expect(tab.locator("[data-slot=figures]")).to_contain_text(re.compile(r"8\.\d MB of 21\.\d MB"))
    until(tab, lambda: len(answered) == 2)
    tab.reload()
    expect(tab.get_by_text(re.compile("It was interrupted. 40 % has arrived"))).to_be_visible()
    tab.unroute(PARTS)
    asked: list[Request] = []

    def note(request: Request) -> None:
        asked.append(request)

    tab.on("request", note)
    tab.locator("#files").set_input_files(large)
    tab.get_by_role("button", name="Make the dataset").click()
    made = named(tab)
    assert len([each for each in asked if PARTS.search(each.url) and each.method == "POST"]) == 6 - 2
    file_id = site.client.get(f"/v1/datasets/{made}").json()["file"]
    assert site.client.get(f"/v1/files/{file_id}").json()["bytes"] == large.stat().st_size
    assert tab.evaluate("Object.keys(localStorage).length") == 0
    site.work()


def test_a_lost_connection_is_tried_again_and_an_upload_can_be_cancelled(
    looker: Looker, site: Served
) -> None:
    looker.forgive("ERR_FAILED")
    tab = looker.tab()
    lost: list[Route] = []

    def lose_one(route: Route) -> None:
        lost.append(route)
        if len(lost) == 1:
            route.abort()

    tab.route(PARTS, lose_one)
    tab.goto("/datasets")
    drop(tab, [("first.zip", zipped(cut(3))), ("second.zip", zipped(cut(4)))])
    expect(tab.locator("#uploads li")).to_have_count(2)
    first, second = tab.locator("#uploads li").all()
    expect(first).to_contain_text("The connection is lost")
    expect(second).to_contain_text("Waits for its turn")
    until(tab, lambda: len(lost) == 2)
    lost[1].continue_()
    expect(first).to_contain_text("It has arrived")
    expect(second).to_contain_text("Sending")
    second.get_by_role("button", name="Cancel").click()
    expect(tab.locator("#toasts")).to_contain_text("second.zip is not sent.")
    expect(tab.locator("#uploads li")).to_have_count(1)
    stored = site.client.get("/v1/project").json()["stored_bytes"]
    tab.wait_for_function("Object.keys(localStorage).length === 0")
    assert stored == sum(each["bytes"] for each in site.client.get("/v1/files").json()["data"])


def test_pictures_by_keyboard_alone(tab: Page, site: Served) -> None:
    made = dataset(site, "keyboard", cut(60))
    tab.goto("/datasets")
    with tab.expect_file_chooser() as chooser:
        tab.get_by_role("button", name="Choose files").press("Enter")
    assert chooser.value.is_multiple()
    tab.get_by_role("link", name="keyboard").press("Enter")
    tab.get_by_role("button", name="baguette bread").press("Enter")
    head = tab.locator("#viewer-head")
    expect(head).to_have_text("4 of 60")
    tab.keyboard.press("ArrowRight")
    expect(head).to_have_text("5 of 60")
    expect(tab.locator("#viewer img")).to_have_attribute("src", f"/v1/datasets/{made}/rows/4/content")
    tab.keyboard.press("ArrowLeft")
    tab.keyboard.press("ArrowLeft")
    expect(tab.locator("#viewer .said")).to_have_text("baby chick")
    tab.keyboard.press("Escape")
    expect(tab.locator("#viewer")).to_be_hidden()
    tab.get_by_label("Row").fill("59")
    tab.keyboard.press("Enter")
    expect(head).to_have_text("60 of 60")
    tab.keyboard.press("Escape")
    expect(tab.locator("#gallery li")).to_have_count(48)
    tab.get_by_role("button", name="Show more").press("Enter")
    expect(tab.locator("#gallery li")).to_have_count(60)


def test_a_row_that_comes_late_is_not_put_over_a_later_one(tab: Page, site: Served) -> None:
    made = dataset(site, "late", cut(60))
    held = hold(tab, re.compile(r"/rows\?limit=1&after=58$"))
    tab.goto(f"/datasets/{made}")
    expect(tab.locator("#gallery li")).to_have_count(48)
    tab.get_by_label("Row").fill("59")
    tab.get_by_label("Row").press("Enter")
    until(tab, lambda: held)
    tab.get_by_role("button", name="baguette bread").click()
    expect(tab.locator("#viewer-head")).to_have_text("4 of 60")
    let_through(held[0])
    tab.get_by_role("button", name="Next").click()
    expect(tab.locator("#viewer-head")).to_have_text("5 of 60")


def test_an_upload_that_is_cancelled_while_it_begins_is_cancelled_at_the_server(tab: Page) -> None:
    held = hold(tab, "**/v1/uploads")
    tab.goto("/datasets")
    drop(tab, [("early.zip", zipped(cut(3)))])
    until(tab, lambda: held)
    tab.locator("#uploads").get_by_role("button", name="Cancel").click()
    expect(tab.locator("#uploads li")).to_have_count(0)
    with tab.expect_response(re.compile("/v1/uploads/[^/]+/cancel$")) as cancelled:
        held[0].continue_()
    assert cancelled.value.json()["status"] == "cancelled"
    expect(tab.locator("#toasts")).to_contain_text("early.zip is not sent.")


def test_an_upload_whose_first_answer_is_lost_is_begun_once(looker: Looker) -> None:
    looker.forgive("ERR_FAILED")
    tab = looker.tab()
    begun: list[str] = []

    def lose_the_first(route: Route) -> None:
        answer = route.fetch()
        begun.append(answer.json()["id"])
        if len(begun) == 1:
            route.abort()
        else:
            route.fulfill(response=answer)

    tab.route("**/v1/uploads", lose_the_first)
    tab.goto("/datasets")
    drop(tab, [("asked-twice.zip", zipped(cut(3)))])
    expect(tab.locator("#uploads li")).to_contain_text("It has arrived")
    assert len(begun) == 2
    assert len(set(begun)) == 1


def test_two_datasets_are_compared_and_one_is_deleted(tab: Page, site: Served) -> None:
    dataset(site, "twin", cut(5))
    made = dataset(site, "twin", cut(8))
    tab.goto(f"/datasets/{made}")
    tab.get_by_role("combobox", name="Dataset").select_option(label="twin, version 1")
    tab.get_by_role("button", name="Compare").click()
    expect(tab.locator("#overlap")).to_contain_text("Of 8 pictures 5 are in twin, version 1 too")
    tab.get_by_role("button", name="row 4").click()
    expect(tab.locator("#viewer-head")).to_have_text("5 of 8")
    tab.keyboard.press("Escape")
    tab.on("dialog", lambda dialog: dialog.accept())
    tab.get_by_role("button", name="Delete").click()
    tab.wait_for_url("**/datasets")
    expect(tab.locator("#toasts")).to_contain_text("twin, version 2 is deleted.")
    assert site.client.get(f"/v1/datasets/{made}").status_code == 404


def test_zips_and_digests_of_our_own_are_what_others_make_of_them(tab: Page) -> None:
    tab.goto("/datasets")
    for size in (0, 55, 56, 64, 1000, 70_000):
        data = bytes(number % 251 for number in range(size))
        assert tab.evaluate(DIGEST, size) == hashlib.sha256(data).hexdigest(), size
    many = 66_000  # more than a zip of the old kind holds
    made = base64.b64decode(tab.evaluate(ZIP, many))
    with zipfile.ZipFile(io.BytesIO(made)) as archive:
        assert len(archive.namelist()) == many
        assert archive.namelist()[:2] == ["d/\u00e9-0.txt", "d/\u00e9-1.txt"]
        assert archive.read("d/\u00e9-65000.txt") == b"caption 65000"
        assert archive.testzip() is None


def test_how_they_look(browser: Browser, site: Served) -> None:
    whole = dataset(site, "emoji", cut(60, bad=25), split={"validation": 0.1})
    failed = dataset(site, "torn", cut(1, bad=2), tolerance=0.1)
    site.client.post("/v1/datasets", json={"name": "new", "file": site.upload(zipped(cut(3)))})
    shoot(browser, site, "/datasets", "datasets")
    shoot(browser, site, f"/datasets/{whole}", "dataset", ready="#gallery img")
    shoot(browser, site, f"/datasets/{failed}", "dataset-failed")
