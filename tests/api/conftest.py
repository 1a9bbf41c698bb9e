"""A platform of each profile: its real parts, the real app, and base models without weights."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from core.migrate import migrate
from core.settings import Settings
from tests.api.platform import Running, Served, platform_in, server_in
from tests.conftest import PROFILES, Servers
from tests.databases import create_database

TEMPLATE = "spindle_api_template"
DEFAULTS = {
    "spin": {"n_iterations": 2, "steps": [3, 2], "learning_rate": 0.001, "beta": 100.0, "batch_size": 2},
    "sft": {"steps": 4, "learning_rate": 0.002, "batch_size": 2},
}


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated state folder beside a folder of base models, to be copied."""
    home = tmp_path_factory.mktemp("prepared")
    model = home / "models" / "tiny"
    (model / "spindle").mkdir(parents=True)
    (model / "unet").mkdir()
    (model / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    (model / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(bytes(range(256)) * 64)
    (model / "spindle" / "defaults.json").write_text(json.dumps(DEFAULTS))
    migrate(settings_in(home))
    return home


def settings_in(home: Path, **values: Any) -> Settings:
    told = {"state": home / "state", "base_models": home / "models", "max_file_bytes": 1 << 20} | values
    return Settings.model_validate(told)


def copied(prepared: Path, home: Path) -> Path:
    """Copy the prepared folder; the models stay where they were registered."""
    shutil.copytree(prepared / "state", home / "state")
    (home / "models").symlink_to(prepared / "models")
    return home


@pytest.fixture(scope="session")
def prepared_cluster(prepared: Path, servers: Servers) -> Servers:
    """The servers, with a database to be copied that holds the same base models and the same key."""
    create_database(servers.postgres, TEMPLATE, template="template1")
    migrate(settings_in(prepared, database_url=servers.postgres.format(database=TEMPLATE)))
    return servers


@contextmanager
def urls_of(profile: str, request: pytest.FixtureRequest, **more: str) -> Iterator[dict[str, str]]:
    """Yield what a profile's settings say of its parts."""
    if profile == "embedded":
        yield {}
        return
    servers: Servers = request.getfixturevalue("prepared_cluster")
    with servers.cluster(template=TEMPLATE, **more) as urls:
        yield urls


@pytest.fixture(scope="session", params=PROFILES)
def server(
    request: pytest.FixtureRequest, prepared: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """A server process of each profile that several tests share."""
    home = copied(prepared, tmp_path_factory.mktemp("server"))
    with (
        urls_of(request.param, request, bucket="server") as urls,
        server_in(settings_in(home, max_file_bytes=1 << 30, **urls)) as served,
    ):
        yield served


@pytest.fixture
def home(prepared: Path, tmp_path: Path) -> Path:
    """A platform's folder."""
    return copied(prepared, tmp_path)


@pytest.fixture(params=PROFILES)
def urls(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """What the settings of each profile say of its parts."""
    with urls_of(request.param, request) as found:
        yield found


@pytest.fixture
def platform(home: Path, urls: dict[str, str]) -> Iterator[Running]:
    """An app of each profile, with a client that holds the first key."""
    with platform_in(settings_in(home, **urls)) as running:
        yield running


@pytest.fixture
def embedded(home: Path) -> Iterator[Running]:
    """An app on a folder alone, for what another profile cannot change."""
    with platform_in(settings_in(home)) as running:
        yield running
