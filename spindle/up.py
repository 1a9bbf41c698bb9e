"""The platform in the foreground: starts the services, keeps them alive, and stops them all."""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

from spindle.errors import SpindleError
from spindle.location import importable, sole_owner, write_whole
from spindle.port import check_port
from spindle.profile import Profile, check_cluster
from spindle.service import Service

READY_SECONDS = 180.0
ASIDE = "ingest,export,import"  # kinds of units that somebody waits for, of no job
WORKERS = ("units", "aside", "serve", "beat")
STOP_SECONDS = 8.0
MOST_DEATHS = 3  # of a service before the platform was ever ready
NEEDED = ("uvicorn", "fastapi", "sqlalchemy", "celery", "torch", "diffusers")


@dataclass
class Supervisor:
    """Starts the services of one state folder and keeps them alive.

    Attributes:
        state: the state folder.
        host: the address to listen on.
        port: the port to listen on.
        tell: shows a line to the user.
        lifeline: when this file descriptor closes (the starter has gone), everything stops.
        profile: what database, store and queue are.
    """

    state: Path
    host: str
    port: int
    tell: Callable[[str], None]
    lifeline: int | None = None
    profile: Profile = Profile.embedded
    stopping: bool = False
    services: list[Service] = field(default_factory=list)
    watch: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The address as the user and the clients see it."""
        everywhere = self.host in {"0.0.0.0", "::"}  # noqa: S104  # compared here, not listened on
        host = "127.0.0.1" if everywhere else self.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def logs(self) -> Path:
        """The folder of the services' logs."""
        return self.state / "logs"

    def run(self) -> None:
        """Run until SIGINT, SIGTERM or the end of the lifeline.

        Raises:
            SpindleError: something needed is missing, the port or the folder is taken, or it does not get
                ready.
        """
        missing = [name for name in NEEDED if find_spec(name) is None]
        if missing:
            raise SpindleError(
                f"`spindle up` needs {', '.join(missing)}: install them with `pip install 'spindle[worker]'`."
            )
        if self.profile is Profile.cluster:
            check_cluster(os.environ)
        self.logs.mkdir(parents=True, exist_ok=True)
        check_port(self.host, self.port)
        with sole_owner(self.state), self._signals():
            (self.state / "url").unlink(missing_ok=True)
            try:
                self._migrate()
                self._start_all()
                self._wait_until_ready()
                while not self._asked_to_stop():
                    self._keep_alive()
                    time.sleep(0.2)
            finally:
                self._stop_all()

    @contextmanager
    def _signals(self) -> Iterator[None]:
        def ask(_signum: int, _frame: object) -> None:
            if self.stopping:  # asked twice: at once
                for service in self.services:
                    service.send(signal.SIGKILL)
            self.stopping = True

        before = {each: signal.signal(each, ask) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)

    def _asked_to_stop(self) -> bool:
        if self.lifeline is not None and select.select([self.lifeline], [], [], 0)[0]:
            self.stopping = self.stopping or not os.read(self.lifeline, 1024)
        return self.stopping

    def _environment(self, service: str = "") -> dict[str, str]:
        """Return what a service is told; the ports of the workers' metrics are counted on from the first."""
        mine = {"SPINDLE_STATE": str(self.state), "SPINDLE_PUBLIC_URL": self.url, "PYTHONUNBUFFERED": "1"}
        given = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        port = given.get("SPINDLE_METRICS_PORT", "0")
        if service in WORKERS and port.isdecimal() and int(port):
            mine["SPINDLE_METRICS_PORT"] = str(int(port) + WORKERS.index(service))
        return {"OMP_WAIT_POLICY": "PASSIVE"} | importable(given) | mine

    def _log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def _migrate(self) -> None:
        """Bring the database, the base models and the key up to date before anything runs."""
        with self._log("migrate").open("ab") as log:
            start = log.tell()
            done = subprocess.run(
                [sys.executable, "-m", "core.migrate"],
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                check=False,
            )
        if done.returncode and not self.stopping:
            raise SpindleError(
                f"The database could not be prepared:\n{tail(self._log('migrate'), start)}\n"
                f"The whole log is {self._log('migrate')}."
            )

    def _start_all(self) -> None:
        python = sys.executable
        self.watch = subprocess.Popen(
            [python, "-m", "spindle.watch"],
            env=self._environment(),
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        listen = ("--host", self.host, "--port", str(self.port))
        commands = {
            "api": (python, "-m", "api", *listen),
            # Two lanes: an upload is validated, a model exported or imported while a training runs.
            "units": (python, "-m", "worker", "units", "--except", ASIDE),
            "aside": (python, "-m", "worker", "units", "--kinds", ASIDE),
            "serve": (python, "-m", "worker", "serve"),
            "beat": (python, "-m", "worker", "beat"),
        }
        self.services = [Service(name, command, self._log(name)) for name, command in commands.items()]
        for service in self.services:
            self._note(f"+{service.start(self._environment(service.name))}")

    def _note(self, line: str) -> None:
        assert self.watch is not None, "the watch starts before the services"
        assert self.watch.stdin is not None, "the watch is started with a pipe"
        try:
            self.watch.stdin.write(f"{line}\n".encode())
            self.watch.stdin.flush()
        except BrokenPipeError:
            self.tell("The watch that stops the services after a crash of this process has ended.")

    def _keep_alive(self) -> None:
        """Start again what has died, later each time it dies young."""
        now = time.monotonic()
        for service in self.services:
            service.bound_log()
            if service.process is None and now >= service.due:
                self._note(f"+{service.start(self._environment(service.name))}")
                self.tell(f"{service.name} runs again.")
            elif end := service.ended(now):
                pid, how = end
                self._note(f"-{pid}")
                self.tell(
                    f"{service.name} {how}; it starts again in {service.pause:.0f} s. See {service.log}."
                )

    def _wait_until_ready(self) -> None:
        opener = build_opener(ProxyHandler({}))
        end = time.monotonic() + READY_SECONDS
        why = "nothing answers yet"
        while not self._asked_to_stop():
            try:
                with opener.open(f"{self.url}/readyz", timeout=5):
                    break
            except OSError as error:  # HTTPError and URLError among them
                why = str(error)
            self._keep_alive()
            self._check_that_it_can_start()
            if time.monotonic() > end:
                raise SpindleError(
                    f"Spindle did not get ready in {READY_SECONDS:.0f} s ({why}). See {self.logs}."
                )
            time.sleep(0.2)
        else:
            return
        self.tell(f"Spindle runs at {self.url}")
        self.tell(f"  documentation  {self.url}/docs")
        self.tell(f"  key            {self.state / 'key'}  (spindle key)")
        self.tell(f"  logs           {self.logs}")
        self.tell("Ctrl-C stops it.")
        write_whole(self.state / "url", self.url)

    def _check_that_it_can_start(self) -> None:
        for service in self.services:
            if service.deaths >= MOST_DEATHS:
                last = tail(service.log)
                raise SpindleError(
                    f"{service.name} does not stay up:\n{last}\nThe whole log is {service.log}."
                )

    def _stop_all(self) -> None:
        self.stopping = True
        (self.state / "url").unlink(missing_ok=True)
        running = [service.process for service in self.services if service.process]
        for service in self.services:
            service.send(signal.SIGTERM)
        end = time.monotonic() + STOP_SECONDS
        while any(process.poll() is None for process in running) and time.monotonic() < end:
            time.sleep(0.05)
        for service in self.services:
            service.send(signal.SIGKILL)
        for process in running:
            process.wait()
        if self.watch is not None and self.watch.stdin is not None:
            for process in running:
                self._note(f"-{process.pid}")
            self.watch.stdin.close()
            self.watch.wait()


def tail(path: Path, start: int = 0, lines: int = 12) -> str:
    """Return the last lines of a log, from byte ``start`` on."""
    text = path.read_bytes()[start:].decode(errors="replace")
    return "\n".join(text.splitlines()[-lines:])
