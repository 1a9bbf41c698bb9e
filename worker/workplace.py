"""What a worker process works with: its name, its folder, the store, and whether it has to stop."""

import fcntl
import os
import shutil
import socket
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from core.db import Database
from core.models import UnitKind
from core.runs.candidates import ANYTHING
from core.runs.capabilities import Capabilities
from core.settings import Settings
from core.storage.metered import MeteredStore
from core.storage.store import ObjectStore, store_for
from worker.child import environment
from worker.meters import Meters
from worker.team import Team
from worker.vitals import Vitals
from worker.warm import Warm


class Unusable(ValueError):  # noqa: N818  says what the key is
    """The key and the certificates that a worker was given cannot sign."""


@dataclass
class Workplace:
    """One worker process on one host. Its lock is what makes its name its own while it lives."""

    settings: Settings
    database: Database
    store: ObjectStore
    name: str
    kind: str
    kinds: tuple[UnitKind, ...]
    has: Capabilities
    folder: Path
    lock: IO[str]
    warm: Warm
    meters: Meters
    team: Team = field(default_factory=Team)
    draining: threading.Event = field(default_factory=threading.Event)
    vitals: Vitals = field(default_factory=Vitals)

    @property
    def cache(self) -> Path:
        """Staged inputs, by the digest of their manifest."""
        return self.folder / "cache"

    def scratch(self, name: str) -> Path:
        """Return an empty folder for one attempt at one unit or drawing."""
        path = self.folder / "scratch" / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        return path


def open_workplace(
    settings: Settings,
    kind: str,
    *,
    kinds: tuple[UnitKind, ...] = (),
    has: Capabilities = ANYTHING,
    team: Team | None = None,
) -> Workplace:
    """Take the first name of a kind that no living process of this host holds; clear what the dead left.

    A free lock proves that the last worker of that name is dead, so its claims may be given back at once.
    """
    host = socket.gethostname()
    for number in range(1, 1000):
        name = f"{kind}-{number}@{host}"
        folder = settings.state / "work" / f"{kind}-{number}"
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / f"lock-{host}").open("a")  # not "w": a name that is taken keeps its holder's number
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        shutil.rmtree(folder / "scratch", ignore_errors=True)
        (folder / "cache").mkdir(exist_ok=True)
        meters = Meters()
        return Workplace(
            settings=settings,
            database=Database(settings),
            store=MeteredStore(store_for(settings), meters.store),
            name=name,
            kind=kind,
            kinds=kinds,
            has=has,
            folder=folder,
            lock=lock,
            team=team or Team(),
            warm=Warm(folder, env=environment(), idle_seconds=settings.warm_idle_seconds),
            meters=meters,
        )
    raise RuntimeError(f"1000 workers of kind {kind} run on {host}: no name is left")
