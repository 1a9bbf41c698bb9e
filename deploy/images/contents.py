"""Tell which torch this environment holds and how long its SBOM is; fail when torch is not the one asked for.

Runs inside of an image, while it is built and afterwards. Needs nothing but the standard library.
"""

import argparse
import json
import os
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

SBOM = Path("/usr/share/sbom/spindle.cdx.json")


def torch() -> tuple[str, str]:
    """Return torch's version and what it was built for: cuda, cpu, rocm, or none when there is no torch."""
    if find_spec("torch") is None:
        return "", "none"
    version = import_module("torch.version")
    if version.cuda is not None:
        return version.__version__, "cuda"
    return version.__version__, "cpu" if getattr(version, "hip", None) is None else "rocm"


def main() -> int:
    """Print the facts as JSON; exit code 1 when the accelerator is another one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--accelerator", choices=("cuda", "cpu", "none"), help="fail when torch is for another"
    )
    asked = parser.parse_args().accelerator
    version, accelerator = torch()
    facts: dict[str, object] = {"torch": version, "accelerator": accelerator, "uid": os.getuid()}
    if SBOM.is_file():
        facts["components"] = len(json.loads(SBOM.read_text())["components"])
    print(json.dumps(facts))
    if asked is None or asked == accelerator:
        return 0
    print(
        f"this image was to have accelerator {asked}, and torch {version or '(not installed)'} is for "
        f"{accelerator}; set ACCELERATOR to what you want, and for cpu name an index or a folder of "
        "CPU wheels (PIP_EXTRA_INDEX_URL, PIP_FIND_LINKS)",
        file=sys.stderr,
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
