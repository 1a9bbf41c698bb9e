"""The Dockerfile passes its linter, its stages are what they say, and the api image gets no torch."""

import re
import subprocess
import sysconfig
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from deploy.images.build import TARGETS, pinned_base
from tests.deploy.image import (
    ROOT,
    assert_real,
    copy_tree,
    instructions,
    run_python,
    sent_to_the_builder,
    stages,
)

DOCKERFILE = (ROOT / "Dockerfile").read_text()
STAGES = stages(DOCKERFILE)
TORCH = {"torch", "diffusers", "transformers", "accelerate", "peft"}


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


def ancestors(stage: str) -> list[str]:
    """Return a stage and those that it is built on, the nearest first."""
    return [stage, *ancestors(STAGES[stage].base)] if stage in STAGES else []


def test_the_dockerfile_passes_its_linter() -> None:
    hadolint = Path(sysconfig.get_path("scripts")) / "hadolint"
    ran = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (0, "")


def test_check_lints_the_dockerfile_too() -> None:
    recipe = re.search(r"^check:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert recipe is not None
    assert "\t$(BIN)/hadolint Dockerfile\n" in recipe[1]


def test_there_is_a_stage_for_each_image() -> None:
    assert set(TARGETS) <= set(STAGES)
    assert ancestors("serve") == ["serve", "worker", "runtime", "system"]
    assert ancestors("api") == ["api", "runtime", "system"]


def test_the_base_is_one_exact_version() -> None:
    assert re.fullmatch(r"docker\.io/library/python:3\.11\.\d+-slim-bookworm", pinned_base())
    assert {stage.base for stage in STAGES.values()} <= set(STAGES) | {"scratch", "${BASE}"}


def test_no_digest_is_made_up() -> None:
    """A digest is recorded when a registry told it: none has been asked yet, so none stands anywhere."""
    assert re.findall(r"sha256:[0-9a-f]{8,}", DOCKERFILE) == []
    assert not (ROOT / "deploy" / "images" / "digests.txt").exists()


def test_every_package_comes_from_the_constraints() -> None:
    environment = "".join(instructions(DOCKERFILE, "ENV", stage="tools"))
    assert "PIP_CONSTRAINT=/build/constraints.txt" in environment
    assert "PIP_BUILD_CONSTRAINT=/build/constraints.txt" in environment
    installs = re.findall(r"install ((?!-)\S+)$", DOCKERFILE, re.MULTILINE)
    assert installs == ["cyclonedx-bom", "'.[api]'", '".[${WORKER_EXTRAS}]"']
    assert instructions(DOCKERFILE, "ARG", stage="worker-packages") == ["WORKER_EXTRAS=worker"]
    assert all("tools" in ancestors(stage) for stage in ("api-packages", "worker-packages"))
    assert re.search(r"^cyclonedx-bom==\d", (ROOT / "constraints.txt").read_text(), re.MULTILINE)


def test_what_a_build_is_told_of_its_host_reaches_no_image() -> None:
    """Secrets, the indexes of pip and what a cache holds are of stages that no image is built on."""
    shipped = {stage for target in TARGETS for stage in ancestors(target)}
    for stage in shipped:
        text = STAGES[stage].text
        assert re.findall(r"type=(?:secret|cache)|PIP_\w+", text) == [], stage
        assert re.findall(r"^(?:ARG|ENV).*(?:PASSWORD|TOKEN|SECRET|KEY)", text, re.MULTILINE) == [], stage


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_does_not_run_as_root(target: str) -> None:
    users = [user for stage in ancestors(target) for user in instructions(DOCKERFILE, "USER", stage=stage)]
    assert users == ["10001"]
    writable = re.findall(r"install -d (.*?);", STAGES["system"].text)
    assert writable == ["-o spindle -g spindle /state"]


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_says_what_it_is(target: str) -> None:
    texts = "".join(STAGES[stage].text for stage in reversed(ancestors(target)))
    labels = dict(re.findall(r'((?:org\.opencontainers\.image|org\.spindle)\.[a-z.]+)="([^"]*)"', texts))
    prefix = "org.opencontainers.image."
    assert labels[prefix + "title"] == f"spindle-{target}"
    assert labels[prefix + "licenses"] == "Apache-2.0"
    told = {"version": "${VERSION}", "revision": "${REVISION}", "source": "${SOURCE}", "base.name": "${BASE}"}
    assert {name: labels[prefix + name] for name in told} == told
    assert labels[prefix + "description"]
    assert labels["org.spindle.accelerator"] == ("none" if target == "api" else "${ACCELERATOR}")


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_starts_and_is_asked_for_its_health(target: str) -> None:
    def last(instruction: str) -> str:
        said = [
            text for stage in ancestors(target) for text in instructions(DOCKERFILE, instruction, stage=stage)
        ]
        return said[0]

    assert_real(re.findall(r'"([^"]+)"', last("CMD")))
    assert last("ENTRYPOINT") == '["tini", "--"]'
    assert "tini" in STAGES["system"].text
    assert last("HEALTHCHECK").endswith('CMD ["python", "/app/deploy/images/alive.py"]')
    assert "SPINDLE_METRICS_PORT=9464" in STAGES["runtime"].text


@pytest.mark.parametrize("target", ["api", "worker"])
def test_an_image_holds_what_was_checked_and_written_down(target: str) -> None:
    """The environment that is copied is the one whose torch was looked at and whose packages were listed."""
    contents = STAGES[f"{target}-contents"].text
    asked = {"api": "none", "worker": '"${ACCELERATOR}"'}[target]
    assert STAGES[f"{target}-contents"].base == f"{target}-packages"
    assert f"/venv/bin/python /app/deploy/images/contents.py --accelerator {asked} &&" in contents
    assert re.search(r"cyclonedx-py environment .* /venv/bin/python &&", contents)
    assert "--from=system /var/lib/dpkg/status" in contents
    copies = instructions(DOCKERFILE, "COPY", stage=target)
    assert copies[::-1] == [
        f"--from={target}-packages /venv /venv",
        f"--from={target}-contents /sbom /usr/share/sbom",
        "--from=code /app /app",
    ]


def test_the_api_image_gets_no_torch() -> None:
    assert "install '.[api]'" in STAGES["api-packages"].text
    packages = {name for name, _ in needed("spindle", "api", set())}
    assert {"fastapi", "celery", "sqlalchemy", "uvicorn"} <= packages
    assert packages & (TORCH | {"numpy"}) == set()


def test_little_is_sent_to_the_builder() -> None:
    """No secret, no history, no test: .dockerignore lets through what it names, and all of that is there."""
    sent = sent_to_the_builder()
    assert [name for name in sent if not (ROOT / name).exists()] == []
    tops = {name.partition("/")[0] for name in sent}
    assert tops & {".env", ".git", ".venv", ".spindle", "tests", "bench", "docs", "helm"} == set()


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what is sent to the builder, which has migrated."""
    tree = tmp_path_factory.mktemp("image") / "app"
    copy_tree(tree)
    migrated = run_python("-m", "core.migrate", tree=tree, state=tree.parent / "state")
    assert migrated.returncode == 0, migrated.stderr
    return tree


def test_the_images_hold_all_that_runs(tree: Path) -> None:
    """Alone on Python's path, the copy loads each entry point."""
    code = (
        "import worker.__main__, worker.app, spindle.__main__, core.settings as s; from api.main import app; "
        "print(s.ROOT, *s.Settings.load().base_model_folders())"
    )
    loaded = run_python("-c", code, tree=tree, state=tree.parent / "state")
    assert loaded.stdout.strip() == f"{tree} starter", loaded.stderr


def test_the_api_image_runs_the_api_and_the_beat(tree: Path) -> None:
    """With the packages of the extra ``api`` alone; what the beat then does, its own tests show."""
    packages = {canonicalize_name(name) for name, _ in needed("spindle", "api", set())}
    elsewhere = {
        module
        for module, names in packages_distributions().items()
        if packages.isdisjoint(map(canonicalize_name, names))
    }
    assert {"torch", "c2pa", "numpy"} <= elsewhere
    code = f"""
import sys

class Elsewhere:
    def find_spec(self, name, path=None, target=None):
        if name in {elsewhere!r}:
            raise ModuleNotFoundError(f"{{name}} is not in the api's image")

sys.meta_path.insert(0, Elsewhere())
import api.main
import core.migrate
import worker.__main__ as worker

worker.beat = lambda place: print(place.kind, "runs")
sys.exit(worker.main(["beat"]))
"""
    ran = run_python("-c", code, tree=tree, state=tree.parent / "state")
    assert (ran.returncode, ran.stdout.strip()) == (0, "beat runs"), ran.stderr
