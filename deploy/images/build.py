"""Build Spindle's three images with docker or buildah, look into each, and print what came out.

``make images ACCELERATOR=cpu`` runs this. Whatever of this machine a build needs is taken from the
environment: pip's own variables (PIP_INDEX_URL, PIP_EXTRA_INDEX_URL, PIP_FIND_LINKS with one folder
of wheels, ...), a bundle of certificates (PIP_CERT or SSL_CERT_FILE), BASE (another base image), DEBS
(a folder of Debian packages), WORKER_EXTRAS (worker,eightbit,s3) and SOURCE (the address of the source,
for the labels). None of pip's is kept in an image.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Mapping
from configparser import RawConfigParser
from dataclasses import dataclass
from pathlib import Path

from deploy.images.engines import Build, Engine, find_engine
from deploy.images.standin import IMAGE as STAND_IN
from deploy.images.standin import make_stand_in

ROOT = Path(__file__).resolve().parents[2]
TARGETS = ("api", "worker", "serve")
ACCELERATORS = ("cuda", "cpu")
MEGABYTE = 1_000_000
API_LIMIT_BYTES = 400 * MEGABYTE
CONTENTS = ("python", "/app/deploy/images/contents.py")
PIP_SETTINGS = ("INDEX_URL", "EXTRA_INDEX_URL", "TRUSTED_HOST", "NO_INDEX", "DEFAULT_TIMEOUT", "RETRIES")
HANDED_ON = ("SOURCE", "WORKER_EXTRAS")
CERTIFICATES = ("PIP_CERT", "SSL_CERT_FILE")
CA_IN_BUILD = "/run/secrets/ca"


@dataclass(frozen=True)
class Built:
    """One image as it came out."""

    name: str
    size_bytes: int
    torch: str
    accelerator: str
    components: int
    seconds: float

    def row(self) -> str:
        """Return its line of the table."""
        torch = f"torch {self.torch} ({self.accelerator})" if self.torch else "no torch"
        size = f"{self.size_bytes / MEGABYTE:,.0f} MB"
        return f"| {self.name} | {size} | {torch} | {self.components} | {self.seconds:.0f} s |"


def main(arguments: list[str] | None = None) -> int:
    """Build, check and print; the exit code is 1 when an image is not what it has to be."""
    given = parse(arguments)
    try:
        engine = find_engine()
        base = find_base(engine, os.environ.get("BASE") or pinned_base())
        built = [
            build_one(engine, target, base=base, accelerator=given.accelerator, prefix=given.prefix)
            for target in given.targets
        ]
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        print(f"error: {' '.join(map(str, error.cmd[:3]))} ended with {error.returncode}", file=sys.stderr)
        return 1
    print(f"\nBuilt by {engine.name} on {base}\n")
    print("| image | size, uncompressed | torch | SBOM components | built in |")
    print("|---|---:|---|---:|---:|")
    print("\n".join(each.row() for each in built))
    wrong = [sentence for each in built for sentence in faults(each, accelerator=given.accelerator)]
    print("\n".join(wrong), file=sys.stderr)
    return bool(wrong)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser("python -m deploy.images.build", description=__doc__)
    parser.add_argument(
        "targets", nargs="*", default=TARGETS, help="which of api, worker, serve (default: all)"
    )
    parser.add_argument("--accelerator", choices=ACCELERATORS, default="cuda", help="what torch is for")
    parser.add_argument("--prefix", default="", help="before the names, such as registry.example/team/")
    given = parser.parse_args(arguments)
    if unknown := set(given.targets) - set(TARGETS):
        parser.error(f"no image {', '.join(sorted(unknown))}; choose among {', '.join(TARGETS)}")
    return given


def build_one(engine: Engine, target: str, *, base: str, accelerator: str, prefix: str) -> Built:
    """Build one image, run it to see what it holds, and return that."""
    version = project_version()
    tags = tags_of(f"{prefix}spindle-{target}", version=version, accelerator=accelerator)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        build = Build(
            target,
            tags=tags,
            arguments=arguments_of(base=base, accelerator=accelerator, version=version),
            secrets=write_secrets(Path(folder), os.environ),
            contexts=contexts_of(os.environ),
        )
        engine.build(build, context=ROOT)
    seconds = time.monotonic() - started
    facts = json.loads(engine.run(tags[0], CONTENTS))
    return Built(
        tags[0],
        size_bytes=engine.size(tags[0]),
        torch=facts["torch"],
        accelerator=facts["accelerator"],
        components=facts["components"],
        seconds=seconds,
    )


def tags_of(name: str, *, version: str, accelerator: str) -> tuple[str, str]:
    """Return an image's two tags; those with torch for CUDA end in -cuda, so that both can be had at once."""
    suffix = "-cuda" if accelerator == "cuda" and not name.endswith("-api") else ""
    return f"{name}:{version}{suffix}", f"{name}:latest{suffix}"


def faults(built: Built, *, accelerator: str) -> list[str]:
    """Return a sentence for everything that an image must not be."""
    wrong = []
    if "spindle-api:" in built.name:
        if built.size_bytes > API_LIMIT_BYTES:
            wrong.append(f"{built.name} has {built.size_bytes} bytes; it may have {API_LIMIT_BYTES}")
        if built.torch:
            wrong.append(f"{built.name} holds torch {built.torch}; it must not")
    elif built.accelerator != accelerator:
        wrong.append(f"{built.name} holds torch for {built.accelerator}; it was built for {accelerator}")
    return wrong


def find_base(engine: Engine, base: str) -> str:
    """Return the base that can be had: this one, found or pulled, or a stand-in, and say so loudly."""
    if engine.has(base):
        return base
    why = engine.pull(base)
    if why is None:
        return base
    print(f"\n!!! {base} can be neither found nor pulled:\n!!!   {why.splitlines()[-1]}", file=sys.stderr)
    print(
        "!!! The images are built on a STAND-IN made of Debian's packages: not to be shipped.\n",
        file=sys.stderr,
    )
    return STAND_IN if engine.has(STAND_IN) else make_stand_in(engine, instead_of=base)


def pinned_base() -> str:
    """Return the base that the Dockerfile pins."""
    values: dict[str, str] = {}
    for line in (ROOT / "Dockerfile").read_text().splitlines():
        if line.startswith("FROM"):
            break
        if line.startswith("ARG "):
            name, _, value = line.removeprefix("ARG ").partition("=")
            values[name] = value
    return values["BASE"].replace("${PYTHON}", values["PYTHON"])


def project_version() -> str:
    """Return the version of this tree."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return str(project["version"])


def arguments_of(*, base: str, accelerator: str, version: str) -> dict[str, str]:
    """Return the build arguments; the revision is told where this is a checkout."""
    arguments = {"BASE": base, "ACCELERATOR": accelerator, "VERSION": version}
    described = subprocess.run(
        ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if described.returncode == 0:
        arguments["REVISION"] = described.stdout.strip()
    return arguments | {name: value for name in HANDED_ON if (value := os.environ.get(name))}


def write_secrets(folder: Path, environment: Mapping[str, str]) -> dict[str, Path]:
    """Write pip's settings as a pip.conf, and return the secrets that a build is given."""
    settings = {
        name.lower().replace("_", "-"): value
        for name in PIP_SETTINGS
        if (value := environment.get(f"PIP_{name}"))
    }
    secrets = {}
    if bundle := next((environment[name] for name in CERTIFICATES if environment.get(name)), None):
        secrets["ca"] = Path(bundle)
        settings["cert"] = CA_IN_BUILD
    if settings:
        config = RawConfigParser()
        config["global"] = settings
        secrets["pip"] = folder / "pip.conf"
        with secrets["pip"].open("w") as out:
            config.write(out)
    return secrets


def contexts_of(environment: Mapping[str, str]) -> dict[str, Path]:
    """Return the folders that a build is given; ValueError for one that is not there."""
    folders = {"wheels": environment.get("PIP_FIND_LINKS"), "debs": environment.get("DEBS")}
    contexts = {name: Path(folder) for name, folder in folders.items() if folder}
    for name, folder in contexts.items():
        if not folder.is_dir():
            variable = "PIP_FIND_LINKS" if name == "wheels" else "DEBS"
            raise ValueError(f"{variable} has to be one folder of this machine, and {folder} is none")
    return contexts


if __name__ == "__main__":
    sys.exit(main())
