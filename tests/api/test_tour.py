"""README's tour, run as it stands there: its blocks are one shell's, against a real server."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.api.platform import ROOT, Served, png
from tests.api.test_images import serving
from tests.api.test_openai_client import working

START = "make up"
HERE = "http://127.0.0.1:8000"


def script_of(readme: str, url: str) -> str:
    """Return the tour's blocks as one script, with this server in the place of `make up`'s."""
    [tour] = re.findall(r"^## A tour in five minutes\n(.*?)^## ", readme, re.MULTILINE | re.DOTALL)
    blocks = re.findall(r"^```(sh|python)\n(.*?)^```", tour, re.MULTILINE | re.DOTALL)
    assert blocks[0][1].startswith(START)
    lines = ["set -euo pipefail"]
    for language, block in blocks[1:]:
        if block.startswith(".venv/bin/python"):
            continue  # the engine alone, after the tour
        lines.append(block if language == "sh" else f"python - <<'BLOCK'\n{block}BLOCK")
    return "\n".join(lines).replace(HERE, url)


def programs(folder: Path) -> Path:
    """Make the commands that `.venv/bin` has."""
    folder.mkdir()
    for name, words in (("spindle", "-m spindle"), ("python", "")):
        program = folder / name
        program.write_text(f'#!/bin/sh\nexec {sys.executable} {words} "$@"\n')
        program.chmod(0o755)
    return folder


def test_the_tour_works_as_the_readme_tells_it(server: Served, tmp_path: Path) -> None:
    state = tmp_path / ".spindle"
    state.mkdir()
    (state / "key").write_text(f"{server.secret}\n")
    (state / "url").write_text(f"{server.url}\n")
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SPINDLE_", "OPENAI_"))}
    told = {"PATH": f"{programs(tmp_path / 'bin')}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    with working(server), serving(server):
        done = subprocess.run(
            ["bash", "-c", script_of((ROOT / "README.md").read_text(), server.url)],
            cwd=tmp_path,
            env=kept | told,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    job = re.search(r"^(ftjob-\w+) ", done.stdout, re.MULTILINE)
    assert job is not None, done.stdout
    assert f"{job[1]} succeeded." in done.stdout
    assert "apple.png" in done.stdout.splitlines()
    assert (tmp_path / "apple.png").read_bytes() == png(7)
    listed = server.client.get("/v1/models").json()["data"]
    assert f"ft:starter:tour:{job[1][-10:]}" in {model["id"] for model in listed}
    assert server.client.get("/v1/datasets").json()["data"][0]["name"] == "emoji"
