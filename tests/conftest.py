"""What tests of every tree may ask for: settings, a database, a store, a queue. All real."""

import logging
import os
import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import psycopg
import pytest

from core import keys, schema
from core.db import Database, transaction
from core.logs import StderrHandler
from core.settings import Settings
from core.storage.store import ObjectStore, store_for
from tests.services import postgres_server, redis_server, seaweedfs

TEMPLATE = "spindle_template"
names = count(1)


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


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    """The settings of a platform in a folder, on each database, whose tables are there."""
    state = tmp_path / "state"
    state.mkdir()
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("sqlite_template"), state / "spindle.db")
        yield Settings(state=state)
        return
    url = request.getfixturevalue("postgres_url")
    name = f"spindle_{next(names)}"
    create_database(url, name, template=TEMPLATE)
    yield Settings(state=state, database_url=url.format(database=name))
    drop_database(url, name)


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


def create_database(url: str, name: str, *, template: str) -> None:
    """Make a database in PostgreSQL."""
    with psycopg.connect(url.format(database="postgres"), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')


def drop_database(url: str, name: str) -> None:
    """Remove a database from PostgreSQL, and who is connected to it."""
    with psycopg.connect(url.format(database="postgres"), autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def _migrate(settings: Settings) -> None:
    database = Database(settings)
    schema.move(database)
    database.dispose()
