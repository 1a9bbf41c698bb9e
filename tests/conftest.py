"""What tests of every tree may ask for: settings, a database, a store, a queue. All real."""

import logging
import os
import shutil
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from core import keys, schema
from core.db import Database, transaction
from core.logs import StderrHandler
from core.settings import Settings
from core.storage.store import ObjectStore, store_for
from tests.databases import create_database, database_like
from tests.services import postgres_server, redis_server, seaweedfs

TEMPLATE = "spindle_template"
PROFILES = ("embedded", "cluster")
free_queues = deque(range(1, 16))  # Redis has 16 databases; the first is for tests without a cluster
ROOT = Path(__file__).resolve().parents[1]
# Minutes each, some of them on one set-up: first, so that no other process steals a part of one at the end.
LONG = (
    "tests/chaos/test_chaos.py",
    "tests/worker/test_jobs.py",
    "tests/worker/test_gang.py",
    "tests/worker/test_restored.py",
    "tests/deploy/test_observability.py",
    "tests/api/test_conformance.py",
    "tests/test_paper.py",
    "tests/browser/test_newcomer.py",
)

hypothesis_settings.register_profile(
    "repeated",
    # The same cases each time, however slow the machine is; `make fuzz` and `make model` look for others.
    derandomize=not {"FUZZ_EXAMPLES", "MODEL_STEPS"} & os.environ.keys(),
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
hypothesis_settings.load_profile("repeated")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put what takes long before all else, in the order above."""
    places = {ROOT / name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: places.get(item.path, len(LONG)))


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("SPINDLE_"):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    yield
    root = logging.getLogger()
    root.handlers[:] = [each for each in root.handlers if not isinstance(each, StderrHandler)]
    root.setLevel(logging.WARNING)


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """The address of a Redis."""
    with redis_server() as url:
        yield url


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The address of a PostgreSQL, with ``{database}`` in the place of a name; one is migrated already."""
    with postgres_server() as url:
        create_database(url, TEMPLATE, template="template1")
        _migrate(Settings(database_url=url.format(database=TEMPLATE)))
        yield url


@pytest.fixture(scope="session")
def seaweedfs_url() -> Iterator[str]:
    """The address of an S3 bucket."""
    with seaweedfs() as url:
        yield url


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file, to be copied."""
    state = tmp_path_factory.mktemp("sqlite")
    _migrate(Settings(state=state))
    return state / "spindle.db"


@dataclass(frozen=True)
class Servers:
    """The addresses of the three servers of a cluster, which all tests of a process share."""

    postgres: str
    redis: str
    seaweedfs: str

    @contextmanager
    def cluster(self, *, template: str = TEMPLATE, bucket: str = "each") -> Iterator[dict[str, str]]:
        """Yield the URLs of a platform of its own: a copy of a database, an empty queue, an empty bucket.

        A bucket's first object takes SeaweedFS a fifth of a second, so tests that run one after the other
        share one; what stays there while others run names its own.
        """
        objects = self.seaweedfs.replace("/spindle?", f"/{bucket}?")
        store = store_for(Settings(store_url=objects))
        store.prepare()
        for key in list(store.list("")):
            store.delete(key)
        with self._queue() as queue, database_like(self.postgres, template) as name:
            yield {
                "database_url": self.postgres.format(database=name),
                "broker_url": queue,
                "store_url": objects,
            }

    @contextmanager
    def _queue(self) -> Iterator[str]:
        """Yield the address of an empty queue that no other has as long as this one is used."""
        number = free_queues.popleft()  # the one that was given back longest ago
        url = f"{self.redis.rpartition('/')[0]}/{number}"
        with redis.Redis.from_url(url) as client:
            client.flushdb()
        try:
            yield url
        finally:
            free_queues.append(number)


@pytest.fixture(scope="session")
def servers(postgres_url: str, redis_url: str, seaweedfs_url: str) -> Servers:
    """A PostgreSQL, a Redis and an S3; that one is missing is a failure."""
    return Servers(postgres_url, redis_url, seaweedfs_url)


@pytest.fixture(params=PROFILES)
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    """The settings of a platform of each profile, whose tables are there."""
    state = tmp_path / "state"
    state.mkdir()
    if request.param == "embedded":
        shutil.copy(request.getfixturevalue("sqlite_template"), state / "spindle.db")
        yield Settings(state=state)
        return
    servers: Servers = request.getfixturevalue("servers")
    with servers.cluster() as urls:
        yield Settings.model_validate({"state": state, **urls})


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    """An open database of these settings; the default project is there."""
    opened = Database(settings)
    with transaction(opened) as session:
        keys.bootstrap_key(session, settings)
    yield opened
    opened.dispose()


@pytest.fixture(params=["folder", "seaweedfs"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    """An object store of each kind; the S3 one is shared, so that keys need names of their own."""
    url = request.getfixturevalue("seaweedfs_url") if request.param == "seaweedfs" else ""
    return store_for(Settings(state=tmp_path / "state", store_url=url))


def _migrate(settings: Settings) -> None:
    database = Database(settings)
    schema.move(database)
    database.dispose()
