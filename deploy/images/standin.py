"""A stand-in for the official Python image, from Debian's packages, where no registry can be reached.

It is for trying the images out: Debian's Python is older than the one that is pinned, and nobody else's image
has these layers. It is tagged and labelled as what it is, and so are the images built on it.
"""

import shutil
import subprocess
import tempfile
from pathlib import Path

from deploy.images.engines import Engine

IMAGE = "localhost/spindle-base:stand-in"
LABEL = "org.spindle.stand-in"
SUITE = "bookworm"
PACKAGES = ("python3", "python3-venv", "ca-certificates")
# What Debian's slim image leaves out too.
LEFT_OUT = ("/usr/share/doc/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/man/*")
COPYRIGHTS = "/usr/share/doc/*/copyright"


def make_stand_in(engine: Engine, *, instead_of: str) -> str:
    """Build the stand-in and return its name; FileNotFoundError without mmdebstrap."""
    if shutil.which("mmdebstrap") is None:
        raise FileNotFoundError(
            f"{instead_of} can be neither found nor pulled, and a stand-in from Debian's packages needs "
            "mmdebstrap: install it, load the image from an archive, or name another one in BASE"
        )
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "root.tar"
        subprocess.run([*debootstrap(), SUITE, archive], stdin=subprocess.DEVNULL, check=True)
        engine.load_root(archive, image=IMAGE, label=f"{LABEL}=for {instead_of}")
    return IMAGE


def debootstrap() -> list[str]:
    """Return the command that makes the root file system, up to its suite and its archive."""
    command = ["mmdebstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}"]
    command += [f"--dpkgopt=path-exclude={each}" for each in LEFT_OUT]
    command += [f"--dpkgopt=path-include={COPYRIGHTS}"]
    # The official image's name of the interpreter.
    return [*command, '--customize-hook=ln -s python3 "$1/usr/bin/python"']
