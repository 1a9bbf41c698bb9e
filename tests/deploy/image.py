"""The tree that the images hold, and whether the commands they are given are real."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from api import __main__ as api
from core import migrate
from worker import __main__ as worker

ROOT = Path(__file__).resolve().parents[2]


class Accepted(Exception):  # noqa: N818  no error: the arguments were good, and nothing has started yet
    """The command has read its arguments."""


def assert_real(command: list[str]) -> None:
    """Let the command itself read its arguments, and stop it before it starts."""
    match command:
        case ["python", "-m", "core.migrate", *told]:
            migrate.arguments(told)
        case ["python", "-m", "api", *arguments]:
            api.arguments(arguments)
        case ["python", "-m", "worker", *arguments]:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(worker, "get_settings", accept)
                with pytest.raises(Accepted):
                    worker.main(arguments)
        case _:
            raise AssertionError(f"not a command of the images: {command}")


def accept() -> None:
    raise Accepted


@dataclass(frozen=True)
class Stage:
    """A stage of a Dockerfile: what it is built on, and its instructions with long lines joined."""

    base: str
    text: str


def stages(dockerfile: str) -> dict[str, Stage]:
    """Return the stages by their names."""
    joined = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", dockerfile, flags=re.MULTILINE))
    parts = re.split(r"^FROM (\S+) AS (\S+)$", joined, flags=re.MULTILINE)[1:]
    return {parts[i + 1]: Stage(parts[i], parts[i + 2]) for i in range(0, len(parts), 3)}


def instructions(dockerfile: str, instruction: str, *, stage: str) -> list[str]:
    """Return what a stage says with an instruction, the newest first."""
    text = stages(dockerfile)[stage].text
    return re.findall(rf"^{instruction} (.*)$", text, flags=re.MULTILINE)[::-1]


def sent_to_the_builder() -> list[str]:
    """Return what .dockerignore lets through: after `*`, only its exceptions."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in lines
    return [line[1:] for line in lines if line.startswith("!")]


def copy_tree(to: Path) -> None:
    """Copy what the images hold."""
    for name in sent_to_the_builder():
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, to / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, to / name)


def run_python(*arguments: str, tree: Path, state: Path) -> subprocess.CompletedProcess[str]:
    """Run Python in a copy of the tree, with a state folder of its own."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=tree,
        env=os.environ | {"PYTHONPATH": str(tree), "SPINDLE_STATE": str(state)},
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
