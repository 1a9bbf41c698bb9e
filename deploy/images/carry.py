"""Carry images to where no registry can be reached: save them into a folder, load them from it there.

``python -m deploy.images.carry save FOLDER`` writes an archive for each image, and MANIFEST.json with their
sha256. ``python -m deploy.images.carry load FOLDER --registry REGISTRY`` checks those, loads, tags and
pushes; without a registry it loads only. It works with docker or podman, and loading needs Python alone.
"""

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from deploy.images.engines import answers, failure, run

MANIFEST = "MANIFEST.json"


@dataclass(frozen=True)
class Carried:
    """One image in a folder."""

    reference: str
    file: str
    sha256: str
    digest: str  # what the registry calls it; empty where no registry was asked


def main(arguments: list[str] | None = None) -> int:
    """Save or load; the exit code is 1 when that failed, with a sentence that says why."""
    parser = argparse.ArgumentParser("python -m deploy.images.carry", description=__doc__)
    ways = parser.add_subparsers(dest="way", required=True)
    save = ways.add_parser("save", help="write images into a folder")
    save.add_argument("folder", type=Path)
    save.add_argument(
        "references", nargs="*", help="images (default: all of python -m deploy.images.listing)"
    )
    save.add_argument("--part", choices=("compose", "chart"), help="without names: those of this part alone")
    save.add_argument("--digests", type=Path, help="pull what others publish by the digests of this file")
    load = ways.add_parser("load", help="load a folder's images, and push them")
    load.add_argument("folder", type=Path)
    load.add_argument("--registry", help="where to push them, such as registry.example:5000/spindle")
    load.add_argument("--plain-http", action="store_true", help="the registry has no TLS (podman only)")
    given = parser.parse_args(arguments)
    try:
        engine = find_program()
        if given.way == "save":
            save_all(
                engine, given.folder, wanted(given.references, given.part), digests=recorded(given.digests)
            )
        else:
            load_all(engine, given.folder, registry=given.registry, plain_http=given.plain_http)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        print(f"error: {' '.join(map(str, error.cmd))} ended with {error.returncode}", file=sys.stderr)
        return 1
    return 0


def wanted(references: list[str], part: str | None) -> list[str]:
    """Return the images that were named, or all; the base is left out, the images built on it hold it."""
    if references:
        return references
    from deploy.images.listing import needed  # noqa: PLC0415  it needs PyYAML, which loading does without

    return [each.reference for each in needed(part=part) if each.users != ("Dockerfile",)]


def recorded(digests: Path | None) -> dict[str, str]:
    """Return the digests of a file, if there is one."""
    if digests is None:
        return {}
    from deploy.images.digests import read_digests  # noqa: PLC0415  as above

    return read_digests(digests)


def find_program() -> str:
    """Return docker where an engine answers, else podman."""
    if shutil.which("docker") and answers("docker", "info"):
        return "docker"
    if shutil.which("podman"):
        return "podman"
    raise FileNotFoundError("no Docker engine answers and there is no podman: start one or install the other")


def save_all(engine: str, folder: Path, references: list[str], *, digests: dict[str, str]) -> None:
    """Save each image, pulled first where it is not here; ValueError when one can not be had."""
    folder.mkdir(parents=True, exist_ok=True)
    carried = []
    for reference in references:
        digest = digests.get(reference, "")
        obtain(engine, reference, digest=digest)
        name = reference.translate(str.maketrans("/:", "__")) + ".tar"
        (folder / name).unlink(missing_ok=True)  # podman does not write over an archive
        run(engine, "save", "--output", str(folder / name), reference)
        carried.append(Carried(reference, name, sha256=sha256_of(folder / name), digest=digest))
        print(f"saved {reference}: {(folder / name).stat().st_size / 1e6:,.0f} MB")
    (folder / MANIFEST).write_text(json.dumps([asdict(each) for each in carried], indent=1) + "\n")


def obtain(engine: str, reference: str, *, digest: str) -> None:
    """See to it that an image is in the local storage, by its digest where one is recorded."""
    if not digest and answers(engine, "image", "inspect", reference):
        return
    source = f"{reference.rpartition(':')[0]}@{digest}" if digest else reference
    if why := failure(engine, "pull", "--quiet", source):
        raise ValueError(f"{source} is not here and can not be pulled: {why.splitlines()[-1]}")
    if digest:
        run(engine, "tag", source, reference)


def load_all(engine: str, folder: Path, *, registry: str | None, plain_http: bool) -> None:
    """Check every archive before the first is loaded; then load, tag and push them one by one."""
    carried = [Carried(**each) for each in read_manifest(folder)]
    for each in carried:
        if sha256_of(folder / each.file) != each.sha256:
            raise ValueError(
                f"{folder / each.file} is not what was saved: its sha256 is another one; copy it again"
            )
    insecure = ["--tls-verify=false"] if plain_http and engine == "podman" else []
    for each in carried:
        run(engine, "load", "--input", str(folder / each.file))
        if registry is None:
            continue
        name = f"{registry.rstrip('/')}/{each.reference.removeprefix('localhost/')}"
        run(engine, "tag", each.reference, name)
        run(engine, "push", *insecure, name)
        print(f"pushed {name}")
    if registry is not None:
        print(f"for compose: IMAGE_PREFIX={registry.rstrip('/')}/")
        print(f"for the chart: images.registry={registry.rstrip('/')}")


def read_manifest(folder: Path) -> list[dict[str, Any]]:
    """Read a folder's manifest; ValueError when it holds none."""
    try:
        return list(json.loads((folder / MANIFEST).read_text()))
    except FileNotFoundError:
        raise ValueError(f"{folder} holds no {MANIFEST}: it was not written by save") from None


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    sys.exit(main())
