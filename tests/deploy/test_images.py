"""The Dockerfile passes its linter, the tree it copies is whole, and the api image gets no torch."""

import re
import subprocess
import sysconfig
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from packaging.requirements import Requirement

from tests.deploy.image import ROOT, copy_tree, run_python

DOCKERFILE = (ROOT / "Dockerfile").read_text()


def needed(package: str, extra: str, seen: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Return the packages that one needs with an extra, and those they need, as they are installed here."""
    if (package, extra) in seen:
        return seen
    seen.add((package, extra))
    try:
        lines = requires(package) or []
    except PackageNotFoundError:
        return seen  # for another platform
    for line in lines:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            for wanted in requirement.extras or {""}:
                needed(requirement.name.lower(), wanted, seen)
    return seen


def test_the_dockerfile_passes_its_linter() -> None:
    hadolint = Path(sysconfig.get_path("scripts")) / "hadolint"
    ran = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (0, "")


def test_the_base_is_one_exact_version() -> None:
    assert re.search(r"^ARG PYTHON=3\.11\.\d+-slim-bookworm$", DOCKERFILE, re.MULTILINE)
    stages = set(re.findall(r"^FROM \S+ AS (\S+)$", DOCKERFILE, re.MULTILINE))
    assert set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)) <= stages | {"python:${PYTHON}"}


def test_the_api_image_gets_no_torch() -> None:
    assert "install -c constraints.txt '.[api]'" in DOCKERFILE
    assert DOCKERFILE.split("FROM runtime AS api")[1].count("--from=api-packages") == 1
    packages = {name for name, _ in needed("spindle", "api", set())}
    assert {"fastapi", "celery", "sqlalchemy", "uvicorn"} <= packages
    assert packages & {"torch", "diffusers", "transformers", "numpy"} == set()


def test_the_images_hold_all_that_runs(tmp_path: Path) -> None:
    """A copy of what is sent to the builder, alone on Python's path, migrates and loads each entry point."""
    tree, state = tmp_path / "app", tmp_path / "state"
    copy_tree(tree)
    migrated = run_python("-m", "core.migrate", tree=tree, state=state)
    assert migrated.returncode == 0, migrated.stderr
    code = (
        "import worker.__main__, spindle.__main__, core.settings as s; from api.main import app; "
        "print(s.ROOT, *s.Settings.load().base_model_folders())"
    )
    loaded = run_python("-c", code, tree=tree, state=state)
    assert loaded.stdout.strip() == f"{tree} starter", loaded.stderr
