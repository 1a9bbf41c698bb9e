"""The container engine of this machine: Docker where it answers, else podman behind Docker's own API."""

import json
import os
import resource
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.programs import debian, installed, on_path

PODMAN = ("podman", "buildah", "runc", "netavark", "aardvark-dns", "iptables")
START_SECONDS = 180.0  # podman looks through its storage first, which others may be writing
LOOK_SECONDS = 3.0
AT_ONCE = 3


class Refused(Exception):  # noqa: N818  what a command said is the error
    """A command of the engine failed."""


@dataclass
class Engine:
    """``docker`` or ``podman``, and the environment in which docker-compose finds the same engine."""

    name: str
    environment: dict[str, str]
    build_options: tuple[str, ...] = ()
    version: str = ""
    checks_health: bool = True
    """Whether somebody runs the containers' health checks."""
    _over: threading.Event = field(default_factory=threading.Event)

    def run(self, *arguments: str, check: bool = True, timeout: float = 600.0) -> str:
        """Run a command of the engine and return what it printed; Refused with what it said."""
        ran = subprocess.run(
            [self.name, *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check and ran.returncode:
            raise Refused(f"{self.name} {' '.join(arguments)}: exit code {ran.returncode}\n{ran.stderr}")
        return ran.stdout.strip()

    def has_image(self, name: str) -> bool:
        """Tell whether an image is on this machine."""
        return bool(self.run("images", "--quiet", name))

    def label(self, image: str, name: str) -> str | None:
        """Return a label of an image."""
        [told] = json.loads(self.run("image", "inspect", image))
        labels = told.get("Labels") or told.get("Config", {}).get("Labels") or {}
        return dict(labels).get(name)

    @contextmanager
    def checking_health(self) -> Iterator[None]:
        """Run health checks while the block runs: podman leaves that to timers of systemd's."""
        if self.checks_health:
            yield
            return
        self._over.clear()
        thread = threading.Thread(target=self._check_health, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()

    def _check_health(self) -> None:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            while not self._over.wait(LOOK_SECONDS):
                # One without a check, or one that has just ended, says so and is passed over.
                running = self.run("ps", "--quiet", check=False).split()
                list(pool.map(lambda each: self.run("healthcheck", "run", each, check=False), running))


@contextmanager
def engine(folder: Path) -> Iterator[Engine]:
    """Yield the engine of this machine, with a folder for its sockets and settings."""
    if _docker_answers():
        told = subprocess.run(["docker", "--version"], capture_output=True, text=True, check=True)
        yield Engine("docker", dict(os.environ), version=told.stdout.strip())
        return
    path, said = installed(lambda: on_path("podman"), [debian(*PODMAN)])
    if path is None:
        raise Refused(f"neither Docker nor podman can be had; install one of them:\n{said}")
    with _podman(folder) as found:
        yield found


def _docker_answers() -> bool:
    if not shutil.which("docker"):
        return False
    asked = subprocess.run(["docker", "info"], capture_output=True, check=False)
    return asked.returncode == 0


@contextmanager
def _podman(folder: Path) -> Iterator[Engine]:
    systemd = Path("/run/systemd/system").is_dir()
    settings, socket = folder / "containers.conf", folder / "podman.sock"
    settings.write_text(_settings(systemd=systemd))
    environment = os.environ | {"CONTAINERS_CONF": str(settings), "DOCKER_HOST": f"unix://{socket}"}
    version = subprocess.run(
        ["podman", "--version"], env=environment, capture_output=True, text=True, check=True
    )
    service = subprocess.Popen(
        ["podman", "system", "service", "--time=0", f"unix://{socket}"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=(folder / "podman.log").open("wb"),
        start_new_session=True,  # Ctrl-C is for this test, which needs the service to take the stack down
    )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not socket.exists():
            if service.poll() is not None or time.monotonic() > deadline:
                raise Refused(f"podman's service did not start:\n{(folder / 'podman.log').read_text()}")
            time.sleep(0.1)
        yield Engine(
            "podman",
            environment,
            build_options=("--isolation", "chroot", "--pull=never", "--network", "host"),
            version=version.stdout.strip(),
            checks_health=systemd,
        )
    finally:
        service.terminate()
        service.wait()


def _settings(*, systemd: bool) -> str:
    """Return podman's settings: limits that this machine can give, and local images before Docker Hub's."""
    files = min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 16384)
    processes = min(resource.getrlimit(resource.RLIMIT_NPROC)[1] % (1 << 63), 8192)
    lines = [
        "[containers]",
        f'default_ulimits = ["nofile={files}:{files}", "nproc={processes}:{processes}"]',
        "[engine]",
        f'cgroup_manager = "{"systemd" if systemd else "cgroupfs"}"',
        'events_logger = "file"',
        "compat_api_enforce_docker_hub = false",
        *(['runtime = "runc"'] if shutil.which("runc") else []),
        "[network]",
        'network_backend = "netavark"',
    ]
    return "\n".join(lines) + "\n"
