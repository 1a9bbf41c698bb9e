"""What the tests of hostile input share: the corpus read once, and a platform with the corpus' limits."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from core import keys
from core.db import Database, transaction
from core.settings import Settings
from core.storage.store import store_for
from tests.api.platform import ROOT, Running, platform_in
from tests.hostile.packing import LIMITS

LIMITED = ("max_unpacked_bytes", "max_unpack_ratio", "max_entries", "max_picture_bytes")
LIMITED += ("max_picture_pixels", "max_caption_characters")


@dataclass(frozen=True)
class Reading:
    """What became of one hostile input."""

    name: str
    said: str
    seconds: float
    grown: int
    left: list[str]
    whole: bool


@pytest.fixture(scope="session")
def readings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Reading]:
    """What the limited process told, by the inputs' names."""
    folder = tmp_path_factory.mktemp("hostile")
    command = [sys.executable, "-m", "tests.hostile.reader", str(folder)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    found = [Reading(**json.loads(line)) for line in ran.stdout.splitlines()]
    assert ran.returncode == 0, f"after {[one.name for one in found][-1:]}: {ran.stderr[-2000:]}"
    return {one.name: one for one in found}


@pytest.fixture
def platform(settings: Settings) -> Iterator[Running]:
    """An app of each profile with the limits of the corpus, and no models."""
    limited = settings.model_copy(update={name: getattr(LIMITS, name) for name in LIMITED})
    database = Database(limited)
    with transaction(database) as session:
        keys.bootstrap_key(session, limited)
    database.dispose()
    store_for(limited).prepare()
    with platform_in(limited) as running:
        yield running
