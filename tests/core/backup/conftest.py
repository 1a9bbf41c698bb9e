"""A laptop's platform in the midst of its life, a place for backups, and nothing elsewhere."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from core import keys
from core.backup.place import place_of
from core.db import transaction
from core.settings import Settings
from core.storage.store import ObjectStore
from tests.core.backup.filled import Filled, fill
from tests.core.backup.platforms import Platform, opened


@pytest.fixture
def place(tmp_path: Path) -> ObjectStore:
    return place_of(str(tmp_path / "backups"))


@pytest.fixture(scope="session")
def lived(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Filled]:
    """The state folder of a laptop's platform, to be copied, and what it has."""
    state = tmp_path_factory.mktemp("lived")
    shutil.copy(sqlite_template, state / "spindle.db")
    with opened(Settings(state=state)) as platform:
        with transaction(platform.database) as session:
            keys.bootstrap_key(session, platform.settings)
        filled = fill(platform.database, platform.store)
    return state, filled


@pytest.fixture
def laptop(lived: tuple[Path, Filled], tmp_path: Path) -> Iterator[Platform]:
    """A laptop's platform that nobody else has."""
    shutil.copytree(lived[0], tmp_path / "laptop")
    with opened(Settings(state=tmp_path / "laptop")) as platform:
        yield platform


@pytest.fixture
def filled(lived: tuple[Path, Filled]) -> Filled:
    """What it has."""
    return lived[1]


@pytest.fixture
def elsewhere(tmp_path: Path) -> Settings:
    return Settings(state=tmp_path / "elsewhere")
