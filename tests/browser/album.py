"""The dashboard's pictures for docs/: `make demo`, then `python -m tests.browser.album`.

The platform is the demo's own, with its two real jobs: its model gets a name, two iterations are compared,
votes are cast, pictures are drawn. Votes are cast by the emoji that is closer to its real picture, pixel by
pixel, so that they mean something without a person.
"""

import argparse
import io
import json
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, sync_playwright

from spindle.client import Spindle
from spindle.comparing import Ballot, Comparison
from spindle.results import Job
from spindle.running import temporary
from tests.browser.chromium import FLAGS, installed
from tests.browser.conftest import NARROW, WIDE

ROOT = Path(__file__).resolve().parents[2]
HELD_OUT = ROOT / "examples" / "emoji" / "data" / "test.zip"
VOTES = 24
NAME = "emoji"
TALL = ("job", "playground")
"""Pages of which more than the first screen is worth seeing."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Take every picture and return the exit code."""
    parser = argparse.ArgumentParser("python -m tests.browser.album", description=__doc__)
    parser.add_argument("--state", type=Path, default=ROOT / "build" / "demo-state", help="of `make demo`")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images")
    told = parser.parse_args(arguments)
    path, said = installed()
    if path is None:
        print(f"no Chromium can be had:\n{said}", file=sys.stderr)
        return 1
    with temporary(told.state, alone=True) as client, sync_playwright() as playwright:
        pages = prepare(client)
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        for name, (address, ready) in pages.items():
            tall = name in TALL
            take(browser, client, address, ready, told.out / f"dashboard-{name}.png", tall=tall)
        address, ready = pages["job"]
        take(browser, client, address, ready, told.out / "dashboard-phone.png", phone=True)
        browser.close()
    return 0


def prepare(client: Spindle) -> dict[str, tuple[str, str]]:
    """Bring the platform to where its pages show something; return each address and what to wait for."""
    job = next(each for each in client.jobs.list() if each.method.type == "spin")
    assert job.fine_tuned_model, "the demo's self-play has succeeded"
    model = job.fine_tuned_model
    if NAME not in {each.name for each in client.registry.list()}:  # it was run before
        client.registry.promote(NAME, model, alias="production")
    comparison = vote(client, compare(client, job))
    for prompt in ("red apple", "birthday cake", "snowman", "hot beverage"):
        client.images.generate(model, prompt, seed=7, steps=16, guidance_scale=1.5)
    return {
        "overview": ("/", "main"),
        "datasets": (f"/datasets/{job.training_file}", "#gallery img"),
        "job": (f"/jobs/{job.id}", "#strip img"),
        "model": (f"/models/{model}", "main img"),
        "name": (f"/models/names/{NAME}", "main"),
        "playground": (f"/playground?model={model}", "#history img"),
        "comparison": (f"/comparisons/{comparison.id}", "main"),
        "vote": (f"/comparisons/{comparison.id}/vote", "main img"),
        "queue": ("/queue", "main"),
    }


def compare(client: Spindle, job: Job) -> Comparison:
    """Return a comparison of the last iteration with the one before on held-out captions."""
    asked = client.comparisons.create(
        job=job.id, iteration=2, prompts=sorted(real())[:16], steps=16, guidance_scale=1.5
    )
    return client.comparisons.wait(asked.id)


def vote(client: Spindle, comparison: Comparison) -> Comparison:
    """Vote for the picture that is closer to the real one."""
    pictures = real()
    for _ in range(VOTES):
        ballot = client.comparisons.ballot(comparison.id, voter="pixels")
        if ballot.id is None:
            break
        client.comparisons.vote(comparison.id, ballot.id, closer(client, ballot, pictures), voter="pixels")
    return client.comparisons.get(comparison.id)


def closer(client: Spindle, ballot: Ballot, pictures: dict[str, Image.Image]) -> str:
    """Return the side whose picture differs less from the real one."""
    assert ballot.left is not None, "a ballot with an id has both sides"
    assert ballot.right is not None, "a ballot with an id has both sides"
    assert ballot.prompt is not None, "a ballot with an id has a prompt"
    shown = pictures[ballot.prompt]
    far = []
    for side in (ballot.left, ballot.right):
        with tempfile.TemporaryDirectory() as folder:
            client.comparisons.save(side, Path(folder) / "side.png")
            drawn = Image.open(Path(folder) / "side.png").convert("RGB").resize(shown.size)
        far.append(float(np.square(np.asarray(drawn, float) - np.asarray(shown, float)).mean()))
    return "left" if far[0] < far[1] else "right"


def real() -> dict[str, Image.Image]:
    """Return the held-out pictures by their captions."""
    with zipfile.ZipFile(HELD_OUT) as archive:
        lines = [json.loads(line) for line in archive.read("metadata.jsonl").decode().splitlines()]
        return {
            line["text"]: Image.open(io.BytesIO(archive.read(line["file_name"]))).convert("RGB")
            for line in lines
        }


def take(
    browser: Browser,
    client: Spindle,
    address: str,
    ready: str,
    path: Path,
    *,
    phone: bool = False,
    tall: bool = False,
) -> None:
    """Write what a page looks like."""
    context = browser.new_context(
        base_url=client.location.url,
        viewport=NARROW if phone else WIDE | {"height": 1500} if tall else WIDE,  # type: ignore[arg-type]  # a TypedDict of two numbers
        color_scheme="dark" if phone else "light",
        device_scale_factor=1,
    )
    try:
        _sign_in(context, client)
        page = context.new_page()
        page.goto(address)
        page.locator(ready).first.wait_for()
        page.wait_for_load_state("networkidle")
        page.screenshot(path=path)
        print(path.relative_to(ROOT))
    finally:
        context.close()


def _sign_in(context: BrowserContext, client: Spindle) -> None:
    url = client.location.url
    context.request.post(
        "/sign-in", form={"key": client.location.key}, headers={"Origin": url}, max_redirects=0
    )


if __name__ == "__main__":
    sys.exit(main())
