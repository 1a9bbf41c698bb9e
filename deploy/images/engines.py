"""What builds the images and looks into them: docker with buildx, or buildah."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

KILO = 1000
UNITS = {"B": 1, "KB": KILO, "MB": KILO**2, "GB": KILO**3}


@dataclass(frozen=True)
class Build:
    """One image to build."""

    target: str
    tags: tuple[str, ...]
    arguments: dict[str, str]
    secrets: dict[str, Path] = field(default_factory=dict)
    contexts: dict[str, Path] = field(default_factory=dict)

    def options(self) -> list[str]:
        """Return the options that docker buildx and buildah understand alike."""
        options = ["--target", self.target]
        for tag in self.tags:
            options += ["--tag", tag]
        for name, value in self.arguments.items():
            options += ["--build-arg", f"{name}={value}"]
        for name, path in self.secrets.items():
            options += ["--secret", f"id={name},src={path}"]
        for name, path in self.contexts.items():
            options += ["--build-context", f"{name}={path}"]
        return options


class Engine(Protocol):
    """Builds images, and answers what is in them."""

    name: str

    def has(self, image: str) -> bool:
        """Is this image in the local storage?"""

    def pull(self, image: str) -> str | None:
        """Pull an image; return why it could not be had."""

    def load_root(self, archive: Path, *, image: str, label: str) -> None:
        """Make an image of one layer from a tar of a root file system."""

    def build(self, build: Build, *, context: Path) -> None:
        """Build one image; CalledProcessError when that fails."""

    def size(self, image: str) -> int:
        """Return the bytes of an image's layers, uncompressed."""

    def run(self, image: str, command: Sequence[str]) -> str:
        """Run a command in an image, as its user, and return what it printed."""


class Docker:
    """A Docker engine; its buildx must be version 0.8 or newer for build contexts."""

    name = "docker"

    def has(self, image: str) -> bool:  # noqa: D102
        return answers("docker", "image", "inspect", image)

    def pull(self, image: str) -> str | None:  # noqa: D102
        return failure("docker", "pull", image)

    def load_root(self, archive: Path, *, image: str, label: str) -> None:  # noqa: D102
        changes = ("--change", f"LABEL {label}", "--change", 'CMD ["python3"]')
        run("docker", "import", *changes, str(archive), image)

    def build(self, build: Build, *, context: Path) -> None:  # noqa: D102
        run("docker", "buildx", "build", "--load", *build.options(), str(context))

    def size(self, image: str) -> int:  # noqa: D102
        sizes = said("docker", "history", "--human=false", "--format", "{{.Size}}", image)
        return sum(map(int, sizes.split()))

    def run(self, image: str, command: Sequence[str]) -> str:  # noqa: D102
        return said("docker", "run", "--rm", "--network", "none", "--read-only", image, *command)


class Buildah:
    """Buildah, whose images podman runs. No daemon, and with the isolation chroot no privilege but root."""

    name = "buildah"

    def __init__(self) -> None:
        self.isolation = ("--isolation", os.environ.get("BUILDAH_ISOLATION", "chroot"))

    def has(self, image: str) -> bool:  # noqa: D102
        return answers("buildah", "inspect", "--type", "image", image)

    def pull(self, image: str) -> str | None:  # noqa: D102
        return failure("buildah", "pull", "--quiet", image)

    def load_root(self, archive: Path, *, image: str, label: str) -> None:  # noqa: D102
        container = said("buildah", "from", "scratch").strip()
        try:
            run("buildah", "add", "--quiet", container, str(archive), "/")
            run("buildah", "config", "--label", label, "--cmd", "python3", container)
            run("buildah", "commit", "--quiet", container, image)
        finally:
            run("buildah", "rm", container)

    def build(self, build: Build, *, context: Path) -> None:  # noqa: D102
        # Docker's format has health checks; OCI's has none.
        how = ("--format", "docker", "--layers", "--pull-never", "--network", "host", *self.isolation)
        run("buildah", "build", *how, *build.options(), str(context))

    def size(self, image: str) -> int:  # noqa: D102
        return parse_size(said("buildah", "images", "--format", "{{.Size}}", image).splitlines()[0])

    def run(self, image: str, command: Sequence[str]) -> str:  # noqa: D102
        container = said("buildah", "from", "--pull-never", image).strip()
        try:
            return said("buildah", "run", *self.isolation, container, "--", *command)
        finally:
            run("buildah", "rm", container)


def parse_size(text: str) -> int:
    """Read a size such as ``1.31 GB``; its units are powers of 1000."""
    number, unit = text.split()
    return round(float(number) * UNITS[unit.upper()])


def find_engine() -> Engine:
    """Return docker where engine and buildx answer, else buildah; FileNotFoundError when there is neither."""
    if shutil.which("docker") and answers("docker", "info") and answers("docker", "buildx", "version"):
        return Docker()
    if shutil.which("buildah"):
        return Buildah()
    raise FileNotFoundError(
        "no Docker engine with buildx answers and there is no buildah: start the one or install the other"
    )


def run(*command: str) -> None:
    """Run a command whose output people see."""
    subprocess.run(command, stdin=subprocess.DEVNULL, check=True)


def said(*command: str) -> str:
    """Return what a command printed."""
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=True
    ).stdout


def failure(*command: str) -> str | None:
    """Return what a command said when it failed; None when it did not."""
    ran = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    return (ran.stderr or ran.stdout).strip() if ran.returncode else None


def answers(*command: str) -> bool:
    """Does a command succeed?"""
    return failure(*command) is None
