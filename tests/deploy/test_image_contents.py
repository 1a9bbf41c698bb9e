"""What runs inside of the images beside Spindle: the health check, the check of torch, the SBOM."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.images.alive import address
from deploy.images.sbom import name_the_root, release_of, system_packages
from tests.deploy.image import ROOT

CONTENTS = ROOT / "deploy" / "images" / "contents.py"
CPU = "__version__ = '2.13.0+cpu'\ncuda = None\nhip = None\n"
CUDA = "__version__ = '2.13.0'\ncuda = '13.0'\nhip = None\n"
ROCM = "__version__ = '2.13.0+rocm7'\ncuda = None\nhip = '7.0'\n"
PORT = {"SPINDLE_METRICS_PORT": "9464"}


@pytest.mark.parametrize(
    ("command", "environment", "url"),
    [
        ("tini -- python -m api --host 0.0.0.0 --port 8000", PORT, "http://127.0.0.1:8000/livez"),
        ("python -m api", {}, "http://127.0.0.1:8000/livez"),
        ("/sbin/docker-init -- tini -- python -m worker units", PORT, "http://127.0.0.1:9464/livez"),
        ("tini -- python -m worker beat", PORT, "http://127.0.0.1:9464/livez"),
        ("tini -- python -m worker serve", {}, None),
        ("tini -- python -m worker serve", {"SPINDLE_METRICS_PORT": "0"}, None),
        ("tini -- python -m core.migrate", PORT, None),
        ("tini -- python -c print('-m', 'api')", PORT, None),
    ],
)
def test_each_process_is_asked_where_it_answers(
    command: str, environment: dict[str, str], url: str | None
) -> None:
    assert address(command.split(" "), environment) == url


def check(tmp_path: Path, asked: str, *, version: str | None) -> subprocess.CompletedProcess[str]:
    """Run the check where torch has this version.py, or where there is no torch."""
    if version is not None:
        (tmp_path / "torch").mkdir()
        (tmp_path / "torch" / "__init__.py").touch()
        (tmp_path / "torch" / "version.py").write_text(version)
    return subprocess.run(
        [sys.executable, "-S", CONTENTS, "--accelerator", asked],
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("version", "is_for"), [(CPU, "cpu"), (CUDA, "cuda"), (ROCM, "rocm"), (None, "none")]
)
def test_the_build_fails_when_torch_is_for_something_else(
    tmp_path: Path, version: str | None, is_for: str
) -> None:
    other = "cpu" if is_for == "cuda" else "cuda"
    refused = check(tmp_path, other, version=version)
    assert refused.returncode == 1
    assert f"was to have accelerator {other}" in refused.stderr
    assert f"is for {is_for}; set ACCELERATOR" in refused.stderr.replace("\n", " ")
    assert json.loads(refused.stdout)["accelerator"] == is_for


@pytest.mark.parametrize(("version", "is_for"), [(CPU, "cpu"), (CUDA, "cuda"), (None, "none")])
def test_the_torch_that_was_asked_for_is_good(tmp_path: Path, version: str | None, is_for: str) -> None:
    assert check(tmp_path, is_for, version=version).returncode == 0


def test_the_systems_packages_are_named_so_that_scanners_know_them() -> None:
    listed = "ii \tzlib1g\t1:1.2.13.dfsg-1\tamd64\nrc \tgone\t1\tamd64\nii \tlibc6\t2.36-9+deb12u10\tamd64\n"
    release = release_of('PRETTY_NAME="Debian GNU/Linux 12"\nVERSION_ID="12"\nID=debian\n')
    packages = system_packages(listed, release)
    assert [(each["name"], each["version"]) for each in packages] == [
        ("libc6", "2.36-9+deb12u10"),
        ("zlib1g", "1:1.2.13.dfsg-1"),
    ]
    assert packages[1]["purl"] == "pkg:deb/debian/zlib1g@1%3A1.2.13.dfsg-1?arch=amd64&distro=debian-12"


def test_the_list_is_about_spindle() -> None:
    spindle = {"name": "spindle", "version": "1", "type": "library", "bom-ref": "spindle==1"}
    other = {"name": "other", "version": "2", "type": "library"}
    sbom = {
        "metadata": {},
        "components": [other, spindle | {"externalReferences": [{"url": "file:///build"}]}],
    }
    name_the_root(sbom)
    assert sbom == {"metadata": {"component": spindle | {"type": "application"}}, "components": [other]}
