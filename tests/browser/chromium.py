"""A Chromium for the tests: the one on PATH, else one that is installed now, else a loud refusal."""

import os
import sys
from pathlib import Path

from tests import programs

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def found() -> str | None:
    """Return the browser on PATH, or the one that Playwright brought."""
    kept = Path(os.environ.get("PLAYWRIGHT_BROWSERS_PATH", Path.home() / ".cache" / "ms-playwright"))
    brought = (str(path) for path in sorted(kept.glob("chromium-*/chrome-linux*/chrome")))
    return programs.on_path(*NAMES) or next(brought, None)


def installed() -> tuple[str | None, str]:
    """Return a browser, installing one if there is none, and what was said while that failed."""
    own = [(sys.executable, "-m", "playwright", "install", "chromium")]
    return programs.installed(found, [programs.debian("chromium"), own])
