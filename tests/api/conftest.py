"""A platform in a folder: real SQLite, real store, the real app, and base models without weights."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.migrate import migrate
from core.settings import Settings
from tests.api.platform import Running, Served, platform_in, server_in

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


def settings_in(home: Path, *, max_file_bytes: int = 1 << 20, drawing_seconds: float = 60) -> Settings:
    return Settings(
        state=home / "state",
        base_models=home / "models",
        max_file_bytes=max_file_bytes,
        drawing_timeout_seconds=drawing_seconds,
    )


def copied(prepared: Path, home: Path) -> Path:
    """Copy the prepared folder; the models stay where they were registered."""
    shutil.copytree(prepared / "state", home / "state")
    (home / "models").symlink_to(prepared / "models")
    return home


@pytest.fixture(scope="session")
def server(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server process that several tests share."""
    home = copied(prepared, tmp_path_factory.mktemp("server"))
    with server_in(settings_in(home, max_file_bytes=1 << 30)) as served:
        yield served


@pytest.fixture
def home(prepared: Path, tmp_path: Path) -> Path:
    """A platform's folder."""
    return copied(prepared, tmp_path)


@pytest.fixture
def platform(home: Path) -> Iterator[Running]:
    """An app on that folder, with a client that holds the first key."""
    with platform_in(settings_in(home)) as running:
        yield running
