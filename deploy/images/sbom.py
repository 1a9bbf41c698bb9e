"""Add Python itself and the system's packages to the CycloneDX list of an environment's Python packages.

Runs while an image is built: ``sbom.py PYTHON.json FOLDER OUT.json``, with a folder that holds the image's
``/var/lib/dpkg/status``. Needs the standard library and dpkg.
"""

import json
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

FIELDS = "${db:Status-Abbrev}\t${Package}\t${Version}\t${Architecture}\n"


def system_packages(listed: str, release: dict[str, str]) -> list[dict[str, Any]]:
    """Return a component for each installed package that ``dpkg-query -W`` listed with FIELDS."""
    distro = f"{release['ID']}-{release['VERSION_ID']}"
    components = []
    for line in sorted(listed.splitlines()):
        status, name, version, architecture = line.split("\t")
        if not status.startswith("ii"):
            continue
        url = f"pkg:deb/{release['ID']}/{name}@{quote(version, safe='')}?arch={architecture}&distro={distro}"
        components.append(component(name, version, url))
    return components


def component(name: str, version: str, url: str) -> dict[str, Any]:
    """Return a component with a package URL."""
    return {"type": "library", "bom-ref": url, "name": name, "version": version, "purl": url}


def release_of(text: str) -> dict[str, str]:
    """Read ``/etc/os-release``."""
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line)
    return {key: value.strip('"') for key, value in pairs}


def name_the_root(sbom: dict[str, Any]) -> None:
    """Make Spindle what the list is about; it stood among the packages, with the folder it was built in."""
    root = next(each for each in sbom["components"] if each["name"] == "spindle")
    sbom["components"].remove(root)
    del root["externalReferences"]
    sbom["metadata"]["component"] = root | {"type": "application"}


def main(packages: Path, dpkg: Path, out: Path) -> None:
    """Write the whole list."""
    sbom = json.loads(packages.read_text())
    name_the_root(sbom)
    listed = subprocess.run(
        ["dpkg-query", f"--admindir={dpkg}", "-W", "-f", FIELDS], capture_output=True, text=True, check=True
    ).stdout
    python = platform.python_version()
    sbom["components"] += [
        component("cpython", python, f"pkg:generic/cpython@{python}"),
        *system_packages(listed, release_of(Path("/etc/os-release").read_text())),
    ]
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(sbom, indent=1) + "\n")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
