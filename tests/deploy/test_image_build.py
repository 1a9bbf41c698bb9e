"""`make images`: what it takes from the host, which base it finds, and what it refuses."""

from collections.abc import Sequence
from configparser import RawConfigParser
from pathlib import Path

import pytest

from deploy.images import build
from deploy.images.engines import Build, find_engine, parse_size
from deploy.images.standin import IMAGE as STAND_IN
from deploy.images.standin import debootstrap


class Storage:
    """A local storage with some images, and no registry within reach."""

    name = "storage"

    def __init__(self, *images: str) -> None:
        self.images = set(images)

    def has(self, image: str) -> bool:  # noqa: D102
        return image in self.images

    def pull(self, image: str) -> str | None:  # noqa: D102
        return f"first line\n{image}: connection refused"

    def load_root(self, archive: Path, *, image: str, label: str) -> None:  # noqa: D102
        raise AssertionError(f"{archive}, {image}, {label}: nothing is to be made")

    def build(self, build: Build, *, context: Path) -> None:  # noqa: D102
        raise AssertionError(f"{build}, {context}: nothing is to be built")

    def size(self, image: str) -> int:  # noqa: D102
        raise AssertionError(f"nothing is to be asked of {image}")

    def run(self, image: str, command: Sequence[str]) -> str:  # noqa: D102
        raise AssertionError(f"{command} is not to be run in {image}")


def built(name: str = "spindle-api:1", **changes: object) -> build.Built:
    facts = {
        "size_bytes": 300 * build.MEGABYTE,
        "torch": "",
        "accelerator": "none",
        "components": 9,
        "seconds": 1,
    }
    return build.Built(name, **(facts | changes))  # type: ignore[arg-type]


def test_a_base_that_is_here_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    assert build.find_base(Storage("python:3"), "python:3") == "python:3"
    assert capsys.readouterr().err == ""


def test_a_stand_in_says_loudly_that_it_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert build.find_base(Storage(STAND_IN), "python:3") == STAND_IN
    said = capsys.readouterr().err
    assert "!!!   python:3: connection refused" in said
    assert "STAND-IN" in said


def test_without_a_base_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        FileNotFoundError, match=r"mmdebstrap: install it, load the image from an archive, or name"
    ):
        build.find_base(Storage(), "python:3")


def test_the_stand_in_has_what_the_dockerfile_needs_of_its_base() -> None:
    command = debootstrap()
    assert "--include=python3,python3-venv,ca-certificates" in command
    assert command[-1] == '--customize-hook=ln -s python3 "$1/usr/bin/python"'


def test_pip_is_told_in_secrets_what_the_host_tells_it(tmp_path: Path) -> None:
    host = {
        "PIP_EXTRA_INDEX_URL": "https://user:pass%20word@index.example/simple",
        "PIP_INDEX_URL": "",
        "PIP_NO_CACHE_DIR": "1",
        "SSL_CERT_FILE": "/etc/bundle.pem",
    }
    secrets = build.write_secrets(tmp_path, host)
    assert secrets == {"ca": Path("/etc/bundle.pem"), "pip": tmp_path / "pip.conf"}
    config = RawConfigParser()
    config.read(secrets["pip"])
    assert dict(config["global"]) == {
        "extra-index-url": "https://user:pass%20word@index.example/simple",
        "cert": "/run/secrets/ca",
    }
    assert build.write_secrets(tmp_path, {}) == {}


def test_folders_of_the_host_are_contexts(tmp_path: Path) -> None:
    host = {"PIP_FIND_LINKS": str(tmp_path), "DEBS": ""}
    assert build.contexts_of(host) == {"wheels": tmp_path}
    with pytest.raises(ValueError, match=r"DEBS has to be one folder of this machine, and .*/none is none"):
        build.contexts_of({"DEBS": str(tmp_path / "none")})


def test_what_a_build_is_told() -> None:
    one = Build("api", ("a:1", "a:latest"), {"BASE": "b"}, {"ca": Path("/c")}, {"wheels": Path("/w")})
    assert " ".join(one.options()) == (
        "--target api --tag a:1 --tag a:latest --build-arg BASE=b "
        "--secret id=ca,src=/c --build-context wheels=/w"
    )
    arguments = build.arguments_of(base="b", accelerator="cpu", version="1.2.3")
    assert {name: arguments[name] for name in ("BASE", "ACCELERATOR", "VERSION")} == {
        "BASE": "b",
        "ACCELERATOR": "cpu",
        "VERSION": "1.2.3",
    }


def test_an_image_for_gpus_has_a_tag_of_its_own() -> None:
    assert build.tags_of("r/spindle-api", version="1", accelerator="cuda") == (
        "r/spindle-api:1",
        "r/spindle-api:latest",
    )
    assert build.tags_of("spindle-serve", version="1", accelerator="cuda") == (
        "spindle-serve:1-cuda",
        "spindle-serve:latest-cuda",
    )
    assert build.tags_of("spindle-worker", version="1", accelerator="cpu")[0] == "spindle-worker:1"


def test_an_image_that_is_not_what_it_has_to_be_is_refused() -> None:
    worker = built(
        "spindle-worker:1", torch="2.13.0+cpu", accelerator="cpu", size_bytes=2_000 * build.MEGABYTE
    )
    assert build.faults(worker, accelerator="cpu") == []
    assert build.faults(built(), accelerator="cpu") == []
    assert build.faults(built(size_bytes=400_000_001), accelerator="cpu") == [
        "spindle-api:1 has 400000001 bytes; it may have 400000000"
    ]
    assert build.faults(built(torch="2.13.0"), accelerator="cpu") == [
        "spindle-api:1 holds torch 2.13.0; it must not"
    ]
    assert build.faults(worker, accelerator="cuda") == [
        "spindle-worker:1 holds torch for cpu; it was built for cuda"
    ]


@pytest.mark.parametrize(
    ("text", "size"), [("179 MB", 179_000_000), ("1.31 GB", 1_310_000_000), ("2.96 KB", 2_960)]
)
def test_sizes_are_read_as_they_are_told(text: str, size: int) -> None:
    assert parse_size(text) == size


def test_an_unknown_image_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        build.main(["engine"])
    assert "no image engine; choose among api, worker, serve" in capsys.readouterr().err


@pytest.mark.parametrize(("buildx", "found"), [(0, "docker"), (1, "buildah")])
def test_docker_builds_where_buildx_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, buildx: int, found: str
) -> None:
    """Podman answers as a Docker engine does, and brings no buildx."""
    for name, script in {"docker": f'[ "$1" = info ] || exit {buildx}', "buildah": "exit 0"}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    assert find_engine().name == found
