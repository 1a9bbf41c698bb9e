"""README's tour, run as it stands there, by somebody who has only the address and the key of the stack."""

import re
import subprocess
from pathlib import Path

import httpx
from openai import OpenAI

from tests.api.test_tour import programs, script_of
from tests.deploy.composed import ROOT
from tests.stack.stack import Stack, here
from tests.stack.training import Broken

TOUR_SECONDS = 1200
PNG = b"\x89PNG\r\n\x1a\n"


def run_tour(stack: Stack, folder: Path) -> str:
    """Run the tour's blocks with the key and address where `spindle` looks for them; return the new model."""
    state = folder / ".spindle"
    state.mkdir()
    (state / "key").write_text(f"{stack.key}\n")
    (state / "url").write_text(f"{stack.url}\n")
    (folder / "examples").symlink_to(ROOT / "examples")
    kept = here()
    told = {"PATH": f"{programs(folder / 'bin')}:{kept['PATH']}", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["bash", "-c", script_of((ROOT / "README.md").read_text(), stack.url)],
        cwd=folder,
        env=kept | told,
        capture_output=True,
        text=True,
        timeout=TOUR_SECONDS,
        check=False,
    )
    if done.returncode:
        raise Broken(f"README's tour: exit code {done.returncode}\n{done.stdout}\n{done.stderr}")
    if not (folder / "apple.png").read_bytes().startswith(PNG):
        raise Broken("README's tour wrote no picture")
    found = re.search(r"^(ftjob-\w+) succeeded\.", done.stdout, re.MULTILINE)
    if found is None:
        raise Broken(f"README's tour: no job succeeded\n{done.stdout}")
    return f"ft:starter:tour:{found[1][-10:]}"


def follow_link(stack: Stack, model: str) -> str:
    """Draw a picture, fetch it from the store by its signed link as a browser would; tell the link's host."""
    with OpenAI(base_url=f"{stack.url}/v1", api_key=stack.key) as client:
        drawn = client.images.generate(model=model, prompt="a red apple", response_format="url").data or []
    [link] = [picture.url for picture in drawn if picture.url]
    answer = httpx.get(link, trust_env=False)
    if answer.status_code != httpx.codes.OK or not answer.content.startswith(PNG):
        raise Broken(f"the link to a picture answers {answer.status_code}")
    unsigned = httpx.get(link.partition("?")[0], trust_env=False)
    if unsigned.status_code != httpx.codes.FORBIDDEN:
        raise Broken(f"without its signature the link answers {unsigned.status_code}, not 403")
    return httpx.URL(link).netloc.decode()
