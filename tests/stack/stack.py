"""The composed stack: docker-compose.yml as it stands, on the engine of this machine."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.deploy.composed import DOCKER_COMPOSE, ROOT, documented_environment, variables
from tests.services import free_ports
from tests.stack.engine import Engine, Refused

PROJECT = "spindle-stack-test"
OURS = f"label=com.docker.compose.project={PROJECT}"
UP_SECONDS = 600.0


@dataclass
class Stack:
    """The running stack, and where it is reached from this machine."""

    engine: Engine
    environment: dict[str, str]
    """What .env holds."""
    _file: Path

    @property
    def url(self) -> str:
        """Where the API is."""
        return f"http://127.0.0.1:{self.environment['API_PORT']}"

    @property
    def key(self) -> str:
        """The first API key."""
        return self.environment["SPINDLE_FIRST_KEY"]

    def compose(self, *arguments: str, timeout: float = UP_SECONDS) -> str:
        """Run docker-compose and return what it printed; Refused with what it and the containers said."""
        ran = subprocess.run(
            [DOCKER_COMPOSE, "--project-name", PROJECT, "--env-file", str(self._file), *arguments],
            cwd=ROOT,
            env=self.engine.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if ran.returncode:
            raise Refused(
                f"docker-compose {' '.join(arguments)}: {ran.returncode}\n{ran.stderr}\n{self.logs()}"
            )
        return ran.stdout

    def up(self, *arguments: str) -> None:
        """Start services, and wait until each is healthy or has done what it is for."""
        self.compose("up", "--detach", "--no-build", "--wait", *arguments)

    def containers(self, service: str) -> list[str]:
        """Return the running containers of a service."""
        chosen = f"label=com.docker.compose.service={service}"
        return self.engine.run("ps", "--quiet", "--filter", OURS, "--filter", chosen).split()

    def state(self, container: str) -> dict[str, object]:
        """Return what the engine tells of a container."""
        [told] = json.loads(self.engine.run("inspect", container))
        return dict(told["State"])

    def execute(self, container: str, *command: str) -> str:
        """Run a command in a container."""
        return self.engine.run("exec", container, *command)

    def logs(self, lines: int = 40) -> str:
        """Return the last lines of every container."""
        told = []
        for line in self.engine.run(
            "ps", "--all", "--filter", OURS, "--format", "{{.ID}} {{.Names}}"
        ).splitlines():
            container, _, name = line.partition(" ")
            ran = subprocess.run(
                [self.engine.name, "logs", "--tail", str(lines), container],
                env=self.engine.environment,
                capture_output=True,
                text=True,
                check=False,
            )
            told.append(f"--- {name}\n{ran.stdout}{ran.stderr}")
        return "\n".join(told)

    def left(self) -> list[str]:
        """Return the containers, volumes and networks of this stack that there are."""
        kinds = (("ps", "--all"), ("volume", "ls"), ("network", "ls"))
        return [
            f"{kind} {name}"
            for kind, *options in kinds
            for name in self.engine.run(kind, *options, "--quiet", "--filter", OURS).split()
        ]


@contextmanager
def composed(engine: Engine, folder: Path, *, tag: str) -> Iterator[Stack]:
    """Yield the stack, not started yet, with secrets of its own; take all down at the end, volumes, too."""
    models = folder / "base-models"
    models.mkdir()
    api, objects, prometheus = free_ports(3)
    file = folder / ".env"
    ports = {"API_PORT": str(api), "S3_PORT": str(objects), "PROMETHEUS_PORT": str(prometheus)}
    chosen = {"BASE_MODELS_FOLDER": str(models), "IMAGE_TAG": tag}
    environment = variables(documented_environment()) | ports | chosen
    file.touch(mode=0o600)
    file.write_text("".join(f"{name}={value}\n" for name, value in environment.items()))
    stack = Stack(engine, environment, file)
    try:
        yield stack
    except (Refused, AssertionError) as error:
        error.add_note(stack.logs())
        raise
    finally:
        profiles = ("--profile=cpu", "--profile=observability")
        stack.compose(*profiles, "down", "--volumes", "--remove-orphans", "--timeout", "20")


def without_platform(environment: dict[str, str]) -> dict[str, str]:
    """Return an environment in which nothing tells of another platform."""
    return {
        name: value for name, value in environment.items() if not name.startswith(("SPINDLE_", "OPENAI_"))
    }


def here() -> dict[str, str]:
    """Return the environment of a user of this machine who knows of no platform."""
    return without_platform(dict(os.environ))
