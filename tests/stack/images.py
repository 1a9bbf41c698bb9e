"""The images that the stack runs: ours, built from this tree, and stand-ins for servers that are not here."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from deploy.images import standin
from deploy.images.build import pinned_base
from tests.deploy.composed import ROOT, rendered
from tests.stack.engine import Engine, Refused

STAND_INS = Path(__file__).parent / "stand_ins"
SERVERS = ("postgres", "redis", "s3", "prometheus")
LABEL = "org.spindle.stand-in"


def build_ours(engine: Engine) -> str:
    """Build our three images for processors, as `make images ACCELERATOR=cpu` does; tell their sizes.

    Refused when the script finds that one is not what it has to be.
    """
    command = [sys.executable, "-m", "deploy.images.build", "--accelerator", "cpu"]
    # Behind Docker's API podman is no buildx; buildah builds into the storage that it runs from.
    hidden = {"DOCKER_HOST"} if engine.name == "podman" else set()
    environment = {name: value for name, value in engine.environment.items() if name not in hidden}
    ran = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if ran.returncode:
        raise Refused(f"the images were not built: exit code {ran.returncode}\n{ran.stdout}")
    rows = [
        line.strip("| ").split(" | ") for line in ran.stdout.splitlines() if line.startswith("| spindle-")
    ]
    return ", ".join(f"{name} {size}" for name, size, *_ in rows)


def prepare_servers(engine: Engine, environment: dict[str, str]) -> dict[str, str]:
    """Build a stand-in for each server's image that is not on this machine; return what stands in for what.

    An image that is here is used as it is: pull the real ones before, where a registry can be reached.
    """
    services = rendered(environment, "observability")["services"]
    base = pinned_base() if engine.has_image(pinned_base()) else standin.IMAGE
    stand_ins = {}
    for server in SERVERS:
        name = qualified(services[server]["image"])
        if not engine.has_image(name):
            _build(engine, target=server, name=name, base=base)
        if told := engine.label(name, LABEL):
            stand_ins[services[server]["image"]] = told
    return stand_ins


def qualified(name: str) -> str:
    """Return an image's name with the registry that Docker means when none is named."""
    host, slash, _ = name.partition("/")
    if not slash:
        return f"docker.io/library/{name}"
    return name if "." in host or ":" in host else f"docker.io/{name}"


def _build(engine: Engine, *, target: str, name: str, base: str) -> None:
    with tempfile.TemporaryDirectory(prefix="spindle-weed-") as folder:
        shutil.copy(Path(sys.executable).with_name("weed"), folder)
        engine.run(
            "build",
            *engine.build_options,
            f"--build-arg=BASE={base}",
            f"--build-context=weed={folder}",
            f"--target={target}",
            f"--tag={name}",
            str(STAND_INS),
            timeout=1800,
        )
