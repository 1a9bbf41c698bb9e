"""The whole platform, real in every part, and whatever a fault needs to get hold of it."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from core import migrate
from core.db import Database
from core.settings import Settings
from core.storage.store import ObjectStore, store_for
from tests.chaos.proxy import Proxy
from tests.chaos.receiver import Receiver
from tests.chaos.servers import Postgres, Redis, temporary
from tests.services import LOOPBACK, free_ports, seaweedfs
from tests.tiny import build_pipeline
from tests.worker.platform import BYTECODE, ROOT
from tests.worker.processes import within

LEASE = 3.0
CHOSEN = {
    "lease_seconds": str(LEASE),
    "retry_seconds": "0.2",
    "max_attempts": "50",  # a unit here meets more faults than a cluster has in a year
    "doorbell_seconds": "1",
    "shard_rows": "4",
    "shutdown_grace_seconds": "10",
    "webhook_networks": "127.0.0.0/8",
}
NAME = "chaos"


@dataclass
class Process:
    """A process of the platform that comes back when it dies, as any supervisor of services sees to."""

    name: str
    command: list[str]
    environment: dict[str, str]
    log: Path
    popen: subprocess.Popen[bytes] | None = None
    not_before: float = 0.0
    starts: int = 0

    def start(self) -> None:
        """Start it."""
        with self.log.open("ab") as log:
            self.popen = subprocess.Popen(
                self.command, env=self.environment, cwd=ROOT, stdout=log, stderr=log, start_new_session=True
            )
        self.starts += 1

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self.popen is not None
        return self.popen.pid

    def kill(self, *, away: float = 0.0) -> None:
        """End it at once; it comes back so many seconds later."""
        self.not_before = time.monotonic() + away
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def revive(self) -> None:
        """Start it again if it is dead and its time has come."""
        if self.popen is not None and self.popen.poll() is not None and time.monotonic() >= self.not_before:
            self.start()


@dataclass
class Stack:
    """The parts."""

    folder: Path
    settings: Settings
    """As the driver reaches database and store: past the proxies."""
    database: Database
    store: ObjectStore
    postgres: Postgres
    redis: Redis
    s3: Proxy
    bell: Proxy
    """Between the API and Redis."""
    receiver: Receiver
    hooks: Proxy
    """Between the beat and the receiver of webhooks."""
    url: str
    processes: dict[str, Process]
    _stop: threading.Event = field(default_factory=threading.Event)

    @property
    def work(self) -> Path:
        """Where workers work."""
        return self.settings.state / "work"

    @property
    def workers(self) -> list[Process]:
        """The units workers."""
        return [process for name, process in self.processes.items() if name.startswith("units")]

    def worker_named(self, name: str) -> Process | None:
        """Return the process that goes by a worker's name; None when it is dead."""
        locks = list((self.work / name.partition("@")[0]).glob("lock-*"))
        with suppress(ValueError, FileNotFoundError):
            pid = int(locks[0].read_text()) if locks else 0
            for process in self.workers:
                if process.pid == pid and process.popen is not None and process.popen.poll() is None:
                    return process
        return None

    def key(self) -> str:
        """Return the key to the API."""
        return (self.settings.state / "key").read_text().strip()

    def keep_alive(self) -> None:
        """Start what has died, until the stack ends."""
        while not self._stop.wait(0.1):
            for process in self.processes.values():
                process.revive()

    def end(self) -> None:
        """Stop every process: politely, then not."""
        self._stop.set()
        running = [each.popen for each in self.processes.values() if each.popen is not None]
        for process in running:
            process.send_signal(signal.SIGCONT)
            process.terminate()
        within(15, lambda: all(process.poll() is not None for process in running))
        for process in running:
            process.kill()
            process.wait()


@contextmanager
def stack(folder: Path, *, workers: int) -> Iterator[Stack]:
    """Start everything; it ends with the block."""
    build_pipeline(folder / "models" / "tiny")
    (folder / "state").mkdir()
    with ExitStack() as parts, ThreadPoolExecutor(3) as pool:
        places = [parts.enter_context(temporary(name)) for name in ("pg", "redis")]
        database = pool.submit(Postgres, places[0], NAME)
        queue = Redis(places[1])
        parts.callback(queue.kill)
        queue.start()
        store_url = parts.enter_context(seaweedfs())
        postgres = database.result()
        parts.callback(postgres.crash)
        made = _assembled(folder, postgres, queue, store_url, workers, parts)
        parts.callback(made.database.dispose)
        parts.callback(made.end)
        for process in made.processes.values():
            process.start()
        keeper = threading.Thread(target=made.keep_alive, name="keeper", daemon=True)
        keeper.start()
        yield made


def _assembled(
    folder: Path, postgres: Postgres, queue: Redis, store_url: str, workers: int, parts: ExitStack
) -> Stack:
    s3_port, bell_port, hooks_port, api_port = free_ports(4)
    s3 = urlsplit(store_url)
    assert s3.port is not None
    through = store_url.replace(f":{s3.port}/", f":{s3_port}/")
    url = f"http://{LOOPBACK}:{api_port}"
    chosen = CHOSEN | {
        "state": str(folder / "state"),
        "base_models": str(folder / "models"),
        "database_url": postgres.url,
        "public_url": url,
    }
    settings = Settings.model_validate(chosen | {"store_url": store_url, "broker_url": queue.url})
    migrate.migrate(settings)
    postgres.prepare_clock()

    def environment(**urls: str) -> dict[str, str]:
        told = {f"SPINDLE_{name.upper()}": value for name, value in (chosen | urls).items()}
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        return kept | told | {"PYTHONPYCACHEPREFIX": str(BYTECODE), "OMP_NUM_THREADS": "1"}

    of_workers = environment(store_url=through, broker_url=queue.url)
    of_api = environment(store_url=through, broker_url=f"redis://{LOOPBACK}:{bell_port}/0")
    python = [sys.executable, "-m"]
    serve = [*python, "api", "--host", LOOPBACK, "--port", str(api_port)]
    processes = {
        "api": Process("api", serve, of_api, folder / "api.log"),
        "beat": Process("beat", [*python, "worker", "beat"], of_workers, folder / "beat.log"),
    }
    for number in range(1, workers + 1):
        name = f"units-{number}"
        processes[name] = Process(name, [*python, "worker", "units"], of_workers, folder / f"{name}.log")
    receiver = parts.enter_context(Receiver())
    return Stack(
        folder=folder,
        settings=settings,
        database=Database(settings),
        store=store_for(settings),
        postgres=postgres,
        redis=queue,
        s3=parts.enter_context(Proxy(s3_port, s3.port, http=True)),
        bell=parts.enter_context(Proxy(bell_port, queue.port, http=False)),
        receiver=receiver,
        hooks=parts.enter_context(Proxy(hooks_port, receiver.port, http=True)),
        url=url,
        processes=processes,
    )
